#include "core/log/record_words.h"

#include <pthread.h>

/* Their places are stored in logs and outboxes for ever: add at the end, change and remove nothing. */
static const struct str words[] = {
    STR("shop.cart.events.v1"),
    STR("shop.catalogue.events.v1"),
    STR("shop.checkout.events.v1"),
    STR("shop.checkout.requests.v1"),
    STR("shop.fulfilment.events.v1"),
    STR("shop.fulfilment.requests.v1"),
    STR("shop.inventory.requests.v1"),
    STR("shop.notification.events.v1"),
    STR("shop.order.events.v1"),
    STR("shop.order.requests.v1"),
    STR("shop.payment.events.v1"),
    STR("shop.payment.requests.v1"),
    STR("shop.payment.unrouted.v1"),
    STR("shop.personal.v1"),
    STR("shop.reservation.events.v1"),
    STR("shop.stock.events.v1"),
    STR("shop.cart.v1.CartCreated"),
    STR("shop.cart.v1.LineAdded"),
    STR("shop.cart.v1.LineQuantityChanged"),
    STR("shop.cart.v1.LineRemoved"),
    STR("shop.cart.v1.CheckoutRequested"),
    STR("shop.catalogue.v1.ProductRevised"),
    STR("shop.catalogue.v1.ProductWithdrawn"),
    STR("shop.checkout.v1.CheckoutAccepted"),
    STR("shop.checkout.v1.CheckoutRefused"),
    STR("shop.checkout.v1.CartReopened"),
    STR("shop.checkout.v1.CartAbandoned"),
    STR("shop.checkout.v1.CommandRefused"),
    STR("shop.checkout.v1.ReopenCart"),
    STR("shop.fulfilment.v1.FulfilmentRequested"),
    STR("shop.fulfilment.v1.FulfilmentPicked"),
    STR("shop.fulfilment.v1.ShipmentDispatched"),
    STR("shop.fulfilment.v1.ShipmentDelivered"),
    STR("shop.fulfilment.v1.FulfilmentCancelled"),
    STR("shop.fulfilment.v1.FulfilmentCancellationRefused"),
    STR("shop.fulfilment.v1.CommandRefused"),
    STR("shop.fulfilment.v1.RequestFulfilment"),
    STR("shop.fulfilment.v1.CancelFulfilment"),
    STR("shop.fulfilment.v1.RecordPick"),
    STR("shop.fulfilment.v1.RecordDispatch"),
    STR("shop.fulfilment.v1.RecordDelivery"),
    STR("shop.inventory.v1.ReserveStock"),
    STR("shop.inventory.v1.CommitReservation"),
    STR("shop.inventory.v1.ReleaseReservation"),
    STR("shop.inventory.v1.ConsumeReservation"),
    STR("shop.inventory.v1.ReceiveStock"),
    STR("shop.inventory.v1.AdjustStock"),
    STR("shop.notification.v1.NotificationSent"),
    STR("shop.notification.v1.NotificationSuppressed"),
    STR("shop.notification.v1.NotificationFailed"),
    STR("shop.order.v1.OrderPlaced"),
    STR("shop.order.v1.OrderRejected"),
    STR("shop.order.v1.OrderAwaitingPayment"),
    STR("shop.order.v1.OrderConfirmed"),
    STR("shop.order.v1.OrderPaymentFailed"),
    STR("shop.order.v1.OrderExpired"),
    STR("shop.order.v1.OrderProcessing"),
    STR("shop.order.v1.OrderCancelling"),
    STR("shop.order.v1.OrderCancelled"),
    STR("shop.order.v1.CancellationRefused"),
    STR("shop.order.v1.OrderShipped"),
    STR("shop.order.v1.OrderDelivered"),
    STR("shop.order.v1.OrderCompleted"),
    STR("shop.order.v1.CommandRefused"),
    STR("shop.order.v1.PlaceOrder"),
    STR("shop.order.v1.RejectOrder"),
    STR("shop.order.v1.CancelOrder"),
    STR("shop.payment.v1.PaymentRequested"),
    STR("shop.payment.v1.PaymentAuthorized"),
    STR("shop.payment.v1.PaymentDeclined"),
    STR("shop.payment.v1.PaymentOutcomeUnknown"),
    STR("shop.payment.v1.PaymentCaptured"),
    STR("shop.payment.v1.CaptureFailed"),
    STR("shop.payment.v1.PaymentVoidRequested"),
    STR("shop.payment.v1.PaymentVoided"),
    STR("shop.payment.v1.VoidFailed"),
    STR("shop.payment.v1.AuthorizationExpired"),
    STR("shop.payment.v1.PaymentRefunded"),
    STR("shop.payment.v1.RefundFailed"),
    STR("shop.payment.v1.CommandRefused"),
    STR("shop.payment.v1.AuthorizePayment"),
    STR("shop.payment.v1.CapturePayment"),
    STR("shop.payment.v1.VoidPayment"),
    STR("shop.payment.v1.RefundPayment"),
    STR("shop.payment.v1.SubmitPayment"),
    STR("shop.payment.v1.ProviderNotified"),
    STR("shop.personal.v1.PersonalDetails"),
    STR("shop.reservation.v1.StockReserved"),
    STR("shop.reservation.v1.StockRefused"),
    STR("shop.reservation.v1.ReservationCommitted"),
    STR("shop.reservation.v1.ReservationReleased"),
    STR("shop.reservation.v1.ReservationConsumed"),
    STR("shop.reservation.v1.CommandRefused"),
    STR("shop.stock.v1.StockReceived"),
    STR("shop.stock.v1.StockAdjusted"),
    STR("shop.stock.v1.StockLevelChanged"),
    STR("shop.stock.v1.StockShort"),
    STR("shop.stock.v1.CommandRefused"),
};

enum { WORD_COUNT = sizeof(words) / sizeof(words[0]), SLOTS = 1024 /* a power of two, several times as many */ };

static uint16_t slots[SLOTS]; /* the words' numbers, by their hash; 0: none */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Their ends differ most. */
static size_t slot_of(struct str text) {
    uint64_t end;
    memcpy(&end, text.ptr + text.len - sizeof(end), sizeof(end));
    return (size_t)((end ^ text.len) * UINT64_C(0x9E3779B97F4A7C15) >> 54);
}

static void slots_fill(void) {
    for (size_t i = 0; i < WORD_COUNT; i++) {
        size_t at = slot_of(words[i]);
        while (slots[at])
            at = (at + 1) % SLOTS;
        slots[at] = (uint16_t)(i + 1);
    }
}

uint32_t record_word_find(struct str text) {
    if (text.len < sizeof(uint64_t))
        return 0;
    pthread_once(&once, slots_fill);
    for (size_t at = slot_of(text); slots[at]; at = (at + 1) % SLOTS)
        if (str_eq(words[slots[at] - 1], text))
            return slots[at];
    return 0;
}

bool record_word_get(uint64_t number, struct str *ret) {
    if (number < 1 || number > WORD_COUNT)
        return false;
    *ret = words[number - 1];
    return true;
}

#include "consumers/notice_text.h"

#include "core/domain/notices.h"

#include <stdio.h>
#include <time.h>

/* ---- money ---- */

/* ISO 4217's currencies whose minor unit is not a hundredth. */
static int decimals_of(struct str currency) {
    static const struct {
        const char *codes;
        int decimals;
    } others[] = {
        {"BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF", 0},
        {"BHD IQD JOD KWD LYD OMR TND", 3},
        {"CLF UYW", 4},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (currency.len == 3 && memmem(others[i].codes, strlen(others[i].codes), currency.ptr, 3))
            return others[i].decimals;
    return 2;
}

/* "": written as its code. */
static const char *symbol_of(struct str currency) {
    static const char *const symbols[][2] = {
        {"USD", "$"},   {"EUR", "€"}, {"GBP", "£"}, {"JPY", "¥"},   {"CAD", "CA$"}, {"AUD", "A$"},
        {"NZD", "NZ$"}, {"INR", "₹"}, {"KRW", "₩"}, {"BRL", "R$"},  {"MXN", "MX$"}, {"CNY", "CN¥"},
        {"ILS", "₪"},   {"VND", "₫"}, {"PHP", "₱"}, {"TWD", "NT$"}, {"HKD", "HK$"}, {"XAF", "FCFA "}};
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++)
        if (str_eq(currency, str_from(symbols[i][0])))
            return symbols[i][1];
    return "";
}

static void add_grouped(struct buf *ret, uint64_t number) {
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    for (int i = 0; i < count; i++) {
        if (i && (count - i) % 3 == 0)
            buf_add_char(ret, ',');
        buf_add_char(ret, digits[i]);
    }
}

void notice_text_add_money(struct buf *ret, int64_t minor, struct str currency) {
    int decimals = decimals_of(currency);
    uint64_t amount = minor < 0 ? -(uint64_t)minor : (uint64_t)minor, unit = 1;
    for (int i = 0; i < decimals; i++)
        unit *= 10;
    buf_printf(ret, "%s%s", minor < 0 ? "-" : "", symbol_of(currency));
    if (!symbol_of(currency)[0])
        buf_printf(ret, "%.*s ", STR_ARG(currency));
    add_grouped(ret, amount / unit);
    if (decimals)
        buf_printf(ret, ".%0*llu", decimals, (unsigned long long)(amount % unit));
}

/* ---- what is said ---- */

struct sentence {
    const char *template;
    const char *subject; /* behind "Your order X" */
    const char *text;
    bool lines; /* the order's lines follow */
};

static const struct sentence sentences[] = {
    {NOTICE_CONFIRMED, "is confirmed", "Thank you. Your order is confirmed, and your payment is authorised.", true},
    {NOTICE_REFUSED, "could not be taken", "We are sorry: your order could not be taken. You are not charged.", true},
    {NOTICE_SHIPPED, "is on its way", "Your order has left us and is on its way to you.", true},
    {NOTICE_DELIVERED, "was delivered", "Your order was delivered. We hope that all is as you like it.", false},
    {NOTICE_CANCELLED, "was cancelled", "Your order was cancelled. What was reserved on your card is released.", true},
    {NOTICE_REFUNDED, "was refunded", "We have given money back to you for your order.", false},
};

/* What a slug means to a shopper; NULL: nothing that helps. */
static const char *because(struct str reason) {
    static const char *const texts[][2] = {
        {"out-of-stock", "Something that you ordered is sold out."},
        {"stock-short", "Something that you ordered turned out to be missing from our stock."},
        {"price-changed", "A price changed while you ordered."},
        {"unknown-product", "Something that you ordered is not sold any more."},
        {"payment-declined", "Your payment was declined."},
        {"payment-expired", "It was not paid for in time."},
        {"authorization-expired", "The authorisation of your payment ran out."},
        {"cancelled-by-shopper", "You asked for this."},
        {"cancelled-by-operator", "We had to cancel it ourselves. Please ask us if we did not write to you."},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (str_eq(reason, str_from(texts[i][0])))
            return texts[i][1];
    return NULL;
}

/* Without what would begin a line, or do worse on a terminal. */
static void add_plain(struct buf *ret, struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        buf_add_char(ret, c < ' ' || c == 0x7f ? ' ' : (char)c);
    }
}

static void add_escaped(struct buf *ret, struct str text) {
    BUF_AUTO plain = {0};
    add_plain(&plain, text);
    for (size_t i = 0; i < plain.len; i++) {
        char c = plain.ptr[i];
        switch (c) {
        case '&':
            buf_add_str(ret, STR("&amp;"));
            break;
        case '<':
            buf_add_str(ret, STR("&lt;"));
            break;
        case '>':
            buf_add_str(ret, STR("&gt;"));
            break;
        case '"':
            buf_add_str(ret, STR("&quot;"));
            break;
        case '\'':
            buf_add_str(ret, STR("&#39;"));
            break;
        default:
            buf_add_char(ret, c);
        }
    }
}

/* ---- the two bodies ---- */

/* An amount below the lines. */
static void add_total(struct notice_text *ret, const char *name, struct money money) {
    buf_printf(&ret->text, "  %s: ", name);
    notice_text_add_money(&ret->text, money.minor, money.currency);
    buf_add_char(&ret->text, '\n');
    buf_printf(&ret->html, "<tr><td></td><td>%s</td><td align=\"right\">", name);
    notice_text_add_money(&ret->html, money.minor, money.currency);
    buf_add_str(&ret->html, STR("</td></tr>\n"));
}

static void add_lines(struct notice_text *ret, const struct notice_order *order) {
    buf_add_char(&ret->text, '\n');
    buf_add_str(&ret->html, STR("<table cellpadding=\"4\">\n"));
    for (size_t i = 0; i < order->lines.count; i++) {
        const struct line *line = &order->lines.items[i];
        buf_printf(&ret->text, "  %d x ", line->quantity);
        add_plain(&ret->text, line->name);
        buf_add_str(&ret->text, STR(": "));
        notice_text_add_money(&ret->text, line->line_total.minor, line->line_total.currency);
        buf_add_char(&ret->text, '\n');
        buf_printf(&ret->html, "<tr><td align=\"right\">%d</td><td>", line->quantity);
        add_escaped(&ret->html, line->name);
        buf_add_str(&ret->html, STR("</td><td align=\"right\">"));
        notice_text_add_money(&ret->html, line->line_total.minor, line->line_total.currency);
        buf_add_str(&ret->html, STR("</td></tr>\n"));
    }
    if (order->totals.discount.minor)
        add_total(ret, "Discount", (struct money){-order->totals.discount.minor, order->totals.discount.currency});
    if (order->totals.shipping.minor)
        add_total(ret, "Shipping", order->totals.shipping);
    if (order->totals.tax.minor)
        add_total(ret, "Tax", order->totals.tax);
    add_total(ret, "Total", order->totals.total);
    buf_add_str(&ret->html, STR("</table>\n"));
}

static void add_paragraph(struct notice_text *ret, const char *text) {
    buf_printf(&ret->text, "%s\n", text);
    buf_printf(&ret->html, "<p>%s</p>\n", text);
}

static void add_refund(struct notice_text *ret, const struct intent_send_notice *notice) {
    BUF_AUTO amount = {0};
    notice_text_add_money(&amount, notice->refunded_minor, notice->order.totals.total.currency);
    buf_printf(&ret->text, "Refunded: %s\n", amount.ptr);
    buf_printf(&ret->html, "<p>Refunded: %s</p>\n", amount.ptr);
}

static void add_end(struct notice_text *ret, const struct intent_send_notice *notice, struct str shop) {
    char day[32];
    time_t placed_s = (time_t)(notice->order.placed_at / 1000000);
    struct tm parts;
    strftime(day, sizeof day, "%Y-%m-%d", gmtime_r(&placed_s, &parts));
    buf_printf(&ret->text, "\nOrder %.*s of %s\n", STR_ARG(notice->order_id), day);
    add_plain(&ret->text, shop);
    buf_add_char(&ret->text, '\n');
    buf_add_str(&ret->html, STR("<p>Order "));
    add_escaped(&ret->html, notice->order_id);
    buf_printf(&ret->html, " of %s<br>", day);
    add_escaped(&ret->html, shop);
    buf_add_str(&ret->html, STR("</p>\n</body></html>\n"));
}

bool notice_text_make(const struct intent_send_notice *notice, struct str shop, struct notice_text *ret) {
    const struct sentence *sentence = NULL;
    for (size_t i = 0; i < sizeof sentences / sizeof sentences[0]; i++)
        if (str_eq(notice->template, str_from(sentences[i].template)))
            sentence = &sentences[i];
    if (!sentence)
        return false;
    add_plain(&ret->subject, shop);
    buf_printf(&ret->subject, ": your order %.8s %s", notice->order_id.len >= 8 ? notice->order_id.ptr : "",
               sentence->subject);
    buf_add_str(&ret->html, STR("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"></head><body>\n"));
    add_paragraph(ret, sentence->text);
    if (because(notice->reason))
        add_paragraph(ret, because(notice->reason));
    if (str_eq(notice->template, STR(NOTICE_REFUNDED)))
        add_refund(ret, notice);
    if (sentence->lines)
        add_lines(ret, &notice->order);
    add_end(ret, notice, shop);
    return true;
}

void notice_text_free(struct notice_text *text) {
    buf_free(&text->subject);
    buf_free(&text->text);
    buf_free(&text->html);
}

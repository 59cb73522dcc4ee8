#include "consumers/provider_internal.h"

#include <ctype.h>
#include <stdio.h>

static void add_encoded(struct buf *to, struct str value) {
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (isalnum(c) || (c && strchr("-_.~", c))) {
            buf_add_char(to, (char)c);
        } else {
            buf_add_char(to, '%');
            buf_add_char(to, hex[c >> 4]);
            buf_add_char(to, hex[c & 15]);
        }
    }
}

/* One key=value of a form; the value is percent-encoded. */
static void add_form(struct buf *form, const char *key, struct str value) {
    buf_printf(form, "%s%s=", form->len ? "&" : "", key);
    add_encoded(form, value);
}

static void add_amount(struct buf *form, const char *key, int64_t minor) {
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)minor);
    add_form(form, key, str_from(text));
}

static void build_authorize(const struct intent_call_provider *call, struct provider_request *ret) {
    struct buf *form = &ret->form;
    char currency[8] = "";
    for (size_t i = 0; i < call->amount.currency.len && i < sizeof(currency) - 1; i++)
        currency[i] = (char)tolower((unsigned char)call->amount.currency.ptr[i]);
    ret->template = "/v1/payment_intents";
    buf_printf(&ret->path, "%s", ret->template);
    add_amount(form, "amount", call->amount.minor);
    add_form(form, "currency", str_from(currency));
    add_form(form, "capture_method", STR("manual"));
    add_form(form, "confirm", STR("true"));
    add_form(form, "payment_method_types[]", STR("card"));
    add_form(form, "payment_method", call->payment_method);
    add_form(form, "metadata[order_id]", call->order_id);
    add_form(form, "metadata[payment_id]", call->payment_id);
}

#define OBJECT "/v1/payment_intents/{intent}"

/* `template` is OBJECT and the action. */
static void build_object(const struct intent_call_provider *call, const char *template, struct provider_request *ret) {
    ret->template = template;
    buf_printf(&ret->path, "/v1/payment_intents/");
    add_encoded(&ret->path, call->provider_ref);
    buf_printf(&ret->path, "%s", template + sizeof OBJECT - 1);
}

static void build_call(const struct intent_call_provider *call, struct provider_request *ret) {
    ret->post = true;
    switch (call->action) {
    case INTENT_PROVIDER_ACTION_AUTHORIZE:
        build_authorize(call, ret);
        return;
    case INTENT_PROVIDER_ACTION_CAPTURE:
        build_object(call, OBJECT "/capture", ret);
        add_amount(&ret->form, "amount_to_capture", call->amount.minor);
        return;
    case INTENT_PROVIDER_ACTION_VOID:
        build_object(call, OBJECT "/cancel", ret);
        return;
    case INTENT_PROVIDER_ACTION_REFUND:
        ret->template = "/v1/refunds";
        buf_printf(&ret->path, "%s", ret->template);
        add_form(&ret->form, "payment_intent", call->provider_ref);
        add_amount(&ret->form, "amount", call->amount.minor);
        return;
    case INTENT_PROVIDER_ACTION_LOOK:
        ret->post = false;
        build_object(call, OBJECT, ret);
        return;
    }
}

/* An attempt's object is found by what was said about it, for we never learnt its id. Of a refund nothing can be told
 * from the payment alone. */
static void build_look_up(const struct intent_call_provider *call, struct provider_request *ret) {
    switch (call->action) {
    case INTENT_PROVIDER_ACTION_AUTHORIZE: {
        BUF_AUTO query = {0};
        buf_printf(&query, "metadata['order_id']:'%.*s' AND metadata['payment_id']:'%.*s'", STR_ARG(call->order_id),
                   STR_ARG(call->payment_id));
        ret->template = "/v1/payment_intents/search";
        buf_printf(&ret->path, "%s?query=", ret->template);
        add_encoded(&ret->path, buf_str(&query));
        return;
    }
    case INTENT_PROVIDER_ACTION_CAPTURE:
    case INTENT_PROVIDER_ACTION_VOID:
    case INTENT_PROVIDER_ACTION_LOOK:
        build_object(call, OBJECT, ret);
        return;
    case INTENT_PROVIDER_ACTION_REFUND:
        ret->none = true;
        return;
    }
}

void provider_request_build(const struct intent_call_provider *call, struct provider_request *ret) {
    if (call->look_up)
        build_look_up(call, ret);
    else
        build_call(call, ret);
}

void provider_request_free(struct provider_request *request) {
    buf_free(&request->path);
    buf_free(&request->form);
}

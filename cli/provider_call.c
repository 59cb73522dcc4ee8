#include "cli/provider_call.h"

#include <stdlib.h>

/* ---- answers ---- */

void stripe_answer_json(struct stripe_response *ret, int status, json_t *body) {
    char *text = json_dumps(body, JSON_COMPACT);
    ret->status = status;
    buf_reset(&ret->body);
    buf_printf(&ret->body, "%s", text);
    free(text);
}

void stripe_answer_error(struct stripe_response *ret, int status, const char *type, const char *code, const char *param,
                         json_t *intent, const char *message) {
    json_t *error = json_pack("{s:s, s:s}", "type", type, "message", message);
    if (code)
        json_object_set_new(error, "code", json_string(code));
    if (param)
        json_object_set_new(error, "param", json_string(param));
    if (intent)
        json_object_set_new(error, "payment_intent", intent);
    json_t *body = json_pack("{s:o}", "error", error);
    stripe_answer_json(ret, status, body);
    json_decref(body);
}

void stripe_error(struct stripe_response *ret, int status, const char *type, const char *code, const char *param,
                  const char *format, ...) {
    BUF_AUTO message = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&message, format, args);
    va_end(args);
    stripe_answer_error(ret, status, type, code, param, NULL, message.ptr);
}

/* ---- parameters ---- */

static bool name_is_known(struct str name, const char *const *known) {
    for (; *known; known++) {
        struct str want = str_from(*known);
        bool whole = str_eq(name, want);
        if (whole || (str_starts_with(name, want) && name.len > want.len && name.ptr[want.len] == '['))
            return true;
    }
    return false;
}

bool stripe_params_check(struct stripe_call *call, const char *const *known) {
    for (size_t i = 0; i < call->form.count; i++) {
        struct str name = call->form.fields[i].name;
        if (name_is_known(name, known))
            continue;
        BUF_AUTO text = {0};
        buf_add_str(&text, name);
        stripe_invalid(call, "parameter_unknown", text.ptr, "Received unknown parameter: %s", text.ptr ? text.ptr : "");
        return false;
    }
    return true;
}

bool stripe_param_amount(struct stripe_call *call, const char *name, int64_t fallback, int64_t max, int64_t *ret) {
    struct str text = form_get(&call->form, str_from(name));
    *ret = fallback;
    if (!text.ptr && fallback >= 0)
        return true;
    if (!text.ptr)
        stripe_invalid(call, "parameter_missing", name, "Missing required param: %s.", name);
    else if (!str_to_i64(text, ret))
        stripe_invalid(call, "parameter_invalid_integer", name, "Invalid integer: %.*s", STR_ARG(text));
    else if (*ret < 1)
        stripe_invalid(call, "parameter_invalid_integer", name, "This value must be greater than or equal to 1.");
    else if (*ret > max)
        stripe_invalid(call, "amount_too_large", name, "Amount must be no more than %lld", (long long)max);
    else
        return true;
    return false;
}

bool stripe_param_choice(struct stripe_call *call, const char *name, const char *const *choices, const char *fallback,
                         const char **ret) {
    struct str text = form_get(&call->form, str_from(name));
    *ret = fallback;
    if (!text.ptr)
        return true;
    for (; *choices; choices++)
        if (str_eq(text, str_from(*choices))) {
            *ret = *choices;
            return true;
        }
    stripe_invalid(call, "parameter_invalid_string", name, "Invalid %s: %.*s", name, STR_ARG(text));
    return false;
}

bool stripe_param_currency(struct stripe_call *call, char ret[4]) {
    struct str text = form_get(&call->form, STR("currency"));
    bool valid = text.len == 3;
    for (size_t i = 0; valid && i < 3; i++) {
        ret[i] = (char)(text.ptr[i] | 0x20);
        valid = ret[i] >= 'a' && ret[i] <= 'z';
    }
    ret[3] = '\0';
    if (!text.ptr)
        stripe_invalid(call, "parameter_missing", "currency", "Missing required param: currency.");
    else if (!valid)
        stripe_invalid(call, "parameter_invalid_string", "currency", "Invalid currency: %.*s", STR_ARG(text));
    return valid;
}

json_t *stripe_param_metadata(const struct stripe_call *call) {
    json_t *metadata = json_object();
    for (size_t i = 0; i < call->form.count; i++) {
        struct str name = call->form.fields[i].name, value = call->form.fields[i].value;
        if (!str_starts_with(name, STR("metadata[")) || !str_ends_with(name, STR("]")) || !value.len)
            continue;
        BUF_AUTO key = {0};
        buf_add(&key, name.ptr + 9, name.len - 10);
        json_object_set_new(metadata, key.ptr ? key.ptr : "", json_stringn(value.ptr, value.len));
    }
    return metadata;
}

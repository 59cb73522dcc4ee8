#include "core/trace/otlp.h"

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LEN = 2, WIRE_FIXED32 = 5 };
enum { TEXT_MAX = 1024 };

/* ---- protobuf ---- */

static void add_varint(struct buf *ret, uint64_t value) {
    for (; value >= 0x80; value >>= 7)
        buf_add_char(ret, (char)(value | 0x80));
    buf_add_char(ret, (char)value);
}

static void add_tag(struct buf *ret, uint32_t field, enum wire wire) {
    add_varint(ret, field << 3 | wire);
}

static void add_number(struct buf *ret, uint32_t field, uint64_t value) {
    add_tag(ret, field, WIRE_VARINT);
    add_varint(ret, value);
}

static void add_fixed(struct buf *ret, uint32_t field, uint64_t value, size_t size) {
    add_tag(ret, field, size == 8 ? WIRE_FIXED64 : WIRE_FIXED32);
    for (size_t i = 0; i < size; i++)
        buf_add_char(ret, (char)(value >> 8 * i));
}

static void add_bytes(struct buf *ret, uint32_t field, struct str bytes) {
    add_tag(ret, field, WIRE_LEN);
    add_varint(ret, bytes.len);
    buf_add_str(ret, bytes);
}

/* ---- messages; the numbers are those of the .proto files' fields ---- */

static void add_key_value(struct buf *ret, uint32_t field, const struct span_attribute *attribute) {
    BUF_AUTO value = {0};
    BUF_AUTO pair = {0};
    if (attribute->text.ptr)
        add_bytes(&value, 1, attribute->text); /* AnyValue.string_value */
    else
        add_number(&value, 3, (uint64_t)attribute->number); /* int_value */
    add_bytes(&pair, 1, str_from(attribute->key));
    add_bytes(&pair, 2, buf_str(&value));
    add_bytes(ret, field, buf_str(&pair));
}

void otlp_add_resource_attribute(struct buf *ret, const char *key, struct str value) {
    add_key_value(ret, 1, &(struct span_attribute){key, value, 0});
}

static void add_name(struct buf *ret, const struct span_facts *facts) {
    BUF_AUTO name = {0};
    buf_printf(&name, "%s", facts->verb);
    if (facts->what.ptr && str_is_utf8(facts->what))
        buf_printf(&name, " %.*s", STR_ARG(facts->what));
    add_bytes(ret, 5, buf_str(&name));
}

/* The sampling flags, whether it is known if the parent is another process's, and whether it is. */
static uint64_t flags_of(const struct span *span, enum span_kind kind) {
    return span->context.flags | 0x100U | (kind == SPAN_SERVER || kind == SPAN_CONSUMER ? 0x200U : 0);
}

void otlp_add_span(struct buf *ret, const struct span *span, const struct span_facts *facts, int64_t end_us) {
    static const uint8_t none[SPAN_ID_SIZE];
    BUF_AUTO body = {0};
    add_bytes(&body, 1, (struct str){(const char *)span->context.trace_id, TRACE_ID_SIZE});
    add_bytes(&body, 2, (struct str){(const char *)span->context.span_id, SPAN_ID_SIZE});
    if (memcmp(span->parent, none, SPAN_ID_SIZE) != 0)
        add_bytes(&body, 4, (struct str){(const char *)span->parent, SPAN_ID_SIZE});
    add_name(&body, facts);
    add_number(&body, 6, facts->kind);
    add_fixed(&body, 7, (uint64_t)span->start_us * 1000, 8);
    add_fixed(&body, 8, (uint64_t)end_us * 1000, 8);
    for (size_t i = 0; i < facts->attribute_count; i++) {
        const struct span_attribute *attribute = &facts->attributes[i];
        if (attribute->key && attribute->text.len <= TEXT_MAX && str_is_utf8(attribute->text))
            add_key_value(&body, 9, attribute);
    }
    if (facts->failed)
        add_bytes(&body, 15, STR("\x18\x02")); /* Status.code = STATUS_CODE_ERROR */
    add_fixed(&body, 16, flags_of(span, facts->kind), 4);
    add_bytes(ret, 2, buf_str(&body)); /* ScopeSpans.spans */
}

void otlp_add_request(struct buf *ret, struct str resource, struct str spans) {
    BUF_AUTO scope = {0};
    BUF_AUTO scope_spans = {0};
    BUF_AUTO resource_spans = {0};
    add_bytes(&scope, 1, STR("orderlog"));
    add_bytes(&scope, 2, STR(ORDERLOG_VERSION));
    add_bytes(&scope_spans, 1, buf_str(&scope));
    buf_add_str(&scope_spans, spans);
    add_bytes(&resource_spans, 1, resource);
    add_bytes(&resource_spans, 2, buf_str(&scope_spans));
    add_bytes(ret, 1, buf_str(&resource_spans));
}

/* ---- the answer ---- */

static bool take_varint(struct str *rest, uint64_t *ret) {
    *ret = 0;
    for (unsigned shift = 0; rest->len && shift < 64; shift += 7) {
        uint8_t byte = (uint8_t)*rest->ptr;
        *rest = (struct str){rest->ptr + 1, rest->len - 1};
        *ret |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool take_bytes(struct str *rest, uint64_t len, struct str *ret) {
    if (len > rest->len)
        return false;
    *ret = (struct str){rest->ptr, (size_t)len};
    *rest = (struct str){rest->ptr + len, rest->len - (size_t)len};
    return true;
}

/* One field: its number, and its value or bytes. */
static bool take_field(struct str *rest, uint64_t *ret_field, uint64_t *ret_value, struct str *ret_bytes) {
    uint64_t tag, len;
    *ret_value = 0;
    *ret_bytes = STR_NULL;
    if (!take_varint(rest, &tag))
        return false;
    *ret_field = tag >> 3;
    switch ((int)(tag & 7)) {
    case WIRE_VARINT:
        return take_varint(rest, ret_value);
    case WIRE_FIXED64:
        return take_bytes(rest, 8, ret_bytes);
    case WIRE_FIXED32:
        return take_bytes(rest, 4, ret_bytes);
    case WIRE_LEN:
        return take_varint(rest, &len) && take_bytes(rest, len, ret_bytes);
    default:
        return false;
    }
}

int64_t otlp_rejected(struct str response) {
    uint64_t field, value;
    struct str partial;
    while (response.len && take_field(&response, &field, &value, &partial)) {
        struct str ignored;
        if (field != 1) /* partial_success */
            continue;
        while (partial.len && take_field(&partial, &field, &value, &ignored))
            if (field == 1 && !ignored.ptr && value <= INT32_MAX) /* rejected_spans */
                return (int64_t)value;
    }
    return 0;
}

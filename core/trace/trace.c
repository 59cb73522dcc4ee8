#include "core/trace/trace.h"

#include <stdio.h>

#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/trace/export.h"
#include "core/trace/otlp.h"

/* Written before there are other threads, and after them. */
static struct {
    struct exporter *exporter; /* NULL: off */
    struct trace_settings settings;
} trace;

bool trace_start(struct err *err) {
    if (!trace_settings_load(&trace.settings, err) ||
        (trace.settings.on && !exporter_open(&trace.settings, &trace.exporter, err))) {
        trace_settings_free(&trace.settings);
        trace.settings = (struct trace_settings){0};
        return false;
    }
    if (trace.exporter)
        logging_write(LOG_INFO, "trace.started", " "); /* the URL may hold a key */
    return true;
}

void trace_stop(void) {
    if (trace.exporter)
        exporter_close(trace.exporter);
    trace.exporter = NULL;
    trace_settings_free(&trace.settings);
    trace.settings = (struct trace_settings){0};
}

bool trace_on(void) {
    return trace.exporter;
}

/* ---- spans ---- */

static bool is_sampled(const struct trace_context *context, bool has_parent) {
    uint64_t last = 0;
    if (has_parent && trace.settings.by_parent)
        return context->flags & TRACE_SAMPLED;
    for (size_t i = TRACE_ID_SIZE - 8; i < TRACE_ID_SIZE; i++)
        last = last << 8 | context->trace_id[i];
    return trace.settings.always || last < trace.settings.below;
}

void span_enter(struct span *span, const struct trace_context *parent) {
    *span = (struct span){.start_us = clock_now_us()};
    trace_context_begin(&span->context);
    if (parent) {
        memcpy(span->context.trace_id, parent->trace_id, TRACE_ID_SIZE);
        memcpy(span->parent, parent->span_id, SPAN_ID_SIZE);
        span->context.flags = parent->flags;
    }
    span->on = trace.exporter && is_sampled(&span->context, parent != NULL);
    span->context.flags = (uint8_t)((span->context.flags & ~TRACE_SAMPLED) | (span->on ? TRACE_SAMPLED : 0));
}

bool span_begin(struct span *span, struct str traceparent) {
    struct trace_context parent;
    span->on = false;
    if (!trace.exporter || !trace_context_parse(traceparent, &parent) || !(parent.flags & TRACE_SAMPLED))
        return false;
    *span = (struct span){.context = parent, .start_us = clock_now_us(), .on = true};
    memcpy(span->parent, parent.span_id, SPAN_ID_SIZE);
    trace_span_id(span->context.span_id);
    return true;
}

void span_end(const struct span *span, const struct span_facts *facts) {
    BUF_AUTO encoded = {0};
    if (!span->on || !trace.exporter)
        return;
    int64_t now_us = clock_now_us();
    /* The time of day may be set back. */
    otlp_add_span(&encoded, span, facts, now_us > span->start_us ? now_us : span->start_us);
    exporter_add(trace.exporter, buf_str(&encoded));
}

/* Topics whose records' subjects are orders. */
static bool is_about_an_order(struct str topic) {
    return str_starts_with(topic, STR("shop.order.")) || str_starts_with(topic, STR("shop.payment.")) ||
           str_starts_with(topic, STR("shop.fulfilment.")) || str_starts_with(topic, STR("shop.reservation."));
}

void span_end_record(const struct span *span, enum span_kind kind, const char *verb, const struct envelope *envelope,
                     struct str group, bool failed) {
    char partition[16];
    if (!span->on)
        return;
    snprintf(partition, sizeof partition, "%d", envelope->partition);
    const struct span_attribute attributes[] = {
        {"messaging.system", STR("kafka"), 0},
        {"messaging.operation.name", str_from(verb), 0},
        {"messaging.operation.type", kind == SPAN_PRODUCER ? STR("send") : STR("process"), 0},
        {"messaging.destination.name", envelope->topic, 0},
        {"messaging.destination.partition.id", str_from(partition), 0},
        {envelope->offset >= 0 ? "messaging.kafka.offset" : NULL, STR_NULL, envelope->offset},
        {group.ptr ? "messaging.consumer.group.name" : NULL, group, 0},
        {envelope->id.ptr ? "messaging.message.id" : NULL, envelope->id, 0},
        {envelope->type.ptr ? "cloudevents.event_type" : NULL, envelope->type, 0},
        {envelope->subject.ptr ? "cloudevents.event_subject" : NULL, envelope->subject, 0},
        {envelope->subject.ptr && is_about_an_order(envelope->topic) ? "orderlog.order_id" : NULL, envelope->subject,
         0},
    };
    const struct span_facts facts = {.kind = kind,
                                     .verb = verb,
                                     .what = envelope->topic,
                                     .failed = failed,
                                     .attributes = attributes,
                                     .attribute_count = sizeof attributes / sizeof attributes[0]};
    span_end(span, &facts);
}

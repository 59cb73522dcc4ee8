/* Spans of what a batch decides. They are told of once it is committed: what is thrown away was never decided. */
#include "consumers/batch.h"

void batch_begin_span(struct batch *batch, struct item *item) {
    struct span span = {0};
    batch->traceparent = item->envelope.traceparent;
    if (!trace_on())
        return;
    if (item->envelope.traceparent.ptr) {
        if (!span_begin(&span, item->envelope.traceparent))
            return;
    } else if (item->source == ITEM_TIMER) {
        span_enter(&span, NULL); /* nobody asked for it now */
    } else {
        return;
    }
    batch->traceparent = trace_context_format(&span.context, arena_alloc(&batch->arena, TRACEPARENT_SIZE));
    item->span = arena_new(&batch->arena, struct span);
    *item->span = span;
}

static void end_span(const struct item *item) {
    struct str service = str_from(item->shard->service->decider->service);
    bool timer = item->source == ITEM_TIMER, failed = item->poison.kind != ERR_NONE;
    if (!timer && item->source != ITEM_RESULT) {
        span_end_record(item->span, SPAN_CONSUMER, "decide", &item->envelope, service, failed);
        return;
    }
    const struct span_attribute attributes[] = {
        {"orderlog.service", service, 0},
        {"orderlog.key", item->envelope.key, 0},
        {timer ? "orderlog.timer" : NULL, item->input.timer, 0},
    };
    const struct span_facts facts = {.kind = SPAN_INTERNAL,
                                     .verb = "decide",
                                     .what = timer ? STR("timer") : STR("answer"),
                                     .failed = failed,
                                     .attributes = attributes,
                                     .attribute_count = sizeof attributes / sizeof attributes[0]};
    span_end(item->span, &facts);
}

void batch_end_spans(const struct batch *batch) {
    for (size_t i = 0; i < batch->item_count; i++)
        if (batch->items[i]->span)
            end_span(batch->items[i]);
}

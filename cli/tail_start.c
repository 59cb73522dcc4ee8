#include "cli/tail_start.h"

#include "cli/cli.h"
#include "core/base/clock.h"

static bool time_parse(struct str text, int64_t *ret_us) {
    int64_t ms;
    if (!str_to_i64(text, &ms))
        return clock_parse(text, ret_us);
    return !__builtin_mul_overflow(ms, 1000, ret_us);
}

bool tail_start_parse(const char *argument, struct tail_start *start) {
    struct str text = str_from(argument);
    int64_t value = 0;
    if (str_starts_with(text, STR("e@"))) {
        start->has_end = time_parse((struct str){text.ptr + 2, text.len - 2}, &start->end_us);
        return start->has_end;
    }
    if (str_starts_with(text, STR("s@"))) {
        start->kind = START_TIME;
        return time_parse((struct str){text.ptr + 2, text.len - 2}, &start->value);
    }
    if (str_eq(text, STR("beginning")))
        start->kind = START_BEGINNING;
    else if (str_eq(text, STR("end")))
        start->kind = START_END;
    else if (!str_to_i64(text, &value) || value == INT64_MIN)
        return false;
    else
        start->kind = text.ptr[0] == '-' ? START_LAST : START_OFFSET;
    start->value = value < 0 ? -value : value;
    return true;
}

bool tail_start_check(const struct tail_start *start) {
    if (!start->has_end || start->kind != START_TIME || start->end_us >= start->value)
        return true;
    char from[CLOCK_TEXT_SIZE], to[CLOCK_TEXT_SIZE];
    clock_format(start->value, from);
    clock_format(start->end_us, to);
    cli_usage_error("the end, e@%s, is before the beginning, s@%s", to, from);
    return false;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

bool tail_start_apply(const struct tail_start *start, struct log *log, struct reader_range *range, struct err *err) {
    int64_t low = range->from, high = range->to;
    int64_t from = low, to = high;
    switch (start->kind) {
    case START_BEGINNING:
        break;
    case START_END:
        from = high;
        break;
    case START_LAST:
        from = start->value < high - low ? high - start->value : low;
        break;
    case START_OFFSET:
        from = start->value;
        break;
    case START_TIME:
        if (!log_offset_at_time(log, range->topic, range->partition, start->value, &from, err))
            return false;
        break;
    }
    if (start->has_end && !log_offset_at_time(log, range->topic, range->partition, start->end_us, &to, err))
        return false;
    range->to = clamp(to, low, high);
    range->from = clamp(from, low, range->to);
    return true;
}

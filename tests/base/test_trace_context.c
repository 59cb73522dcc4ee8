/* W3C Trace Context: what is taken for a traceparent and a tracestate, and what becomes of it. The cases are those of
 * the specification and of its test suite (github.com/w3c/trace-context). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/base/trace_context.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

static void traceparents(void **state) {
    (void)state;
    static const struct {
        const char *given, *made; /* NULL: it is not valid */
    } cases[] = {
        {"00-" TRACE "-" SPAN "-01", "00-" TRACE "-" SPAN "-01"},
        {"00-" TRACE "-" SPAN "-00", "00-" TRACE "-" SPAN "-00"},
        {"00-" TRACE "-" SPAN "-03", "00-" TRACE "-" SPAN "-03"},
        {"00-" TRACE "-" SPAN "-ff", "00-" TRACE "-" SPAN "-03"},
        /* later versions */
        {"cc-" TRACE "-" SPAN "-01", "00-" TRACE "-" SPAN "-01"},
        {"cc-" TRACE "-" SPAN "-01-what-the-future-will-be-like", "00-" TRACE "-" SPAN "-01"},
        {"cc-" TRACE "-" SPAN "-fe", "00-" TRACE "-" SPAN "-00"},
        {"cc-" TRACE "-" SPAN "-01.what-the-future-will-be-like", NULL},
        {"ff-" TRACE "-" SPAN "-01", NULL},
        {"00-" TRACE "-" SPAN "-01-what-the-future-will-be-like", NULL},
        {"00-" TRACE "-" SPAN "-01.", NULL},
        {"0x-" TRACE "-" SPAN "-01", NULL},
        {".0-" TRACE "-" SPAN "-01", NULL},
        /* ids and flags */
        {"00-00000000000000000000000000000000-" SPAN "-01", NULL},
        {"00-" TRACE "-0000000000000000-01", NULL},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01", NULL},
        {"00-" TRACE "-00F067AA0BA902B7-01", NULL},
        {"00-4bf92f3577b34da6a3ce929d0e0e473.-" SPAN "-01", NULL},
        {"00-" TRACE "-00f067aa0ba902b.-01", NULL},
        {"00-" TRACE "-" SPAN "-.1", NULL},
        {"00-" TRACE "-" SPAN "-0A", NULL},
        {"00-" TRACE "-" SPAN "-1", NULL},
        {"00-" TRACE "-" SPAN, NULL},
        {"00-" TRACE "0-" SPAN "-01", NULL},
        {"00-4bf92f3577b34da6a3ce929d0e0e473-" SPAN "-01", NULL},
        {"00_" TRACE "_" SPAN "_01", NULL},
        {"", NULL},
        {NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct trace_context context;
        char text[TRACEPARENT_SIZE] = "";
        bool valid = trace_context_parse(str_from(cases[i].given), &context);
        if (valid)
            assert_int_equal(trace_context_format(&context, text).len, TRACEPARENT_SIZE - 1);
        if (valid != (cases[i].made != NULL) || (valid && strcmp(text, cases[i].made) != 0))
            fail_msg("%s: %s, not %s", cases[i].given, valid ? text : "invalid", cases[i].made);
    }
}

static void new_traces_differ(void **state) {
    (void)state;
    struct trace_context a, b, read;
    char text[TRACEPARENT_SIZE];
    trace_context_begin(&a);
    trace_context_begin(&b);
    assert_memory_not_equal(a.trace_id, b.trace_id, TRACE_ID_SIZE);
    assert_memory_not_equal(a.span_id, b.span_id, SPAN_ID_SIZE);
    assert_int_equal(a.flags, TRACE_RANDOM);
    assert_true(trace_context_parse(trace_context_format(&a, text), &read));
    assert_memory_equal(&a, &read, sizeof a);
}

/* `count` members of `len` bytes each, behind `first`. */
static void add_members(struct buf *buf, const char *first, int count, int len) {
    buf_printf(buf, "%s", first);
    for (int i = 0; i < count; i++)
        buf_printf(buf, "%sk%02d=%0*d", buf->len ? "," : "", i, len - 4, i);
}

static void tracestates(void **state) {
    (void)state;
    static const struct {
        const char *given, *made;
    } cases[] = {
        {"foo=1", "foo=1"},
        {"foo=1,bar=2", "foo=1,bar=2"},
        {"foo=1 \t , \t bar=2, baz=3", "foo=1,bar=2,baz=3"},
        {"foo=1,", "foo=1"},
        {",foo=1,,bar=2", "foo=1,bar=2"},
        {"foo= 1", "foo= 1"},
        {"foo=a:b/c-d_e~ f", "foo=a:b/c-d_e~ f"},
        {"f_-*/0@b-y=1", "f_-*/0@b-y=1"},
        {"0foo=1", "0foo=1"},
        {"foo=1,foo=2", NULL},
        {"foo =1", NULL},
        {"FOO=1", NULL},
        {"foo.bar=1", NULL},
        {"_foo=1", NULL},
        {"foo@=1", NULL},
        {"@foo=1", NULL},
        {"foo@@bar=1", NULL},
        {"foo@bar@baz=1", NULL},
        {"foo@fifteenletters1=1", NULL},
        {"foo@fourteenletter=1", "foo@fourteenletter=1"},
        {"foo=bar=baz", NULL},
        {"foo=", NULL},
        {"=1", NULL},
        {"foo", NULL},
        {"foo=\x7f", NULL},
        {"", NULL},
        {" , ", NULL},
        {NULL, NULL},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct str made = tracestate_read(str_from(cases[i].given), &arena);
        if (!made.ptr != !cases[i].made || !str_eq(made, str_from(cases[i].made)))
            fail_msg("%s: %.*s", cases[i].given, STR_ARG(made));
    }
    arena_free(&arena);
}

static void tracestates_are_bounded(void **state) {
    (void)state;
    struct arena arena;
    BUF_AUTO many = {0}, more = {0}, most = {0}, longer = {0}, expected = {0};
    arena_init(&arena);
    add_members(&many, "", 32, 9);
    assert_true(str_eq(tracestate_read(buf_str(&many), &arena), buf_str(&many)));
    add_members(&more, "", 33, 9);
    assert_null(tracestate_read(buf_str(&more), &arena).ptr);
    add_members(&most, "", 27, 18); /* 27 * 18 + 26 = 512 */
    assert_int_equal(most.len, TRACESTATE_MAX);
    assert_true(str_eq(tracestate_read(buf_str(&most), &arena), buf_str(&most)));
    /* The long one goes, then the last of the others. */
    buf_printf(&longer, "long=%0200d,", 1);
    buf_add_str(&longer, buf_str(&most));
    assert_true(str_eq(tracestate_read(buf_str(&longer), &arena), buf_str(&most)));
    add_members(&expected, "first=1", 26, 18);
    buf_reset(&longer);
    add_members(&longer, "first=1", 28, 18);
    assert_true(str_eq(tracestate_read(buf_str(&longer), &arena), buf_str(&expected)));
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traceparents),
        cmocka_unit_test(new_traces_differ),
        cmocka_unit_test(tracestates),
        cmocka_unit_test(tracestates_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

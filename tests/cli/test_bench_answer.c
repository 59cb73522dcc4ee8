/* Answers of an HTTP/1.1 server, however they come in pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/bench.h"

/* Reads `text` in pieces of so many bytes. */
static enum bench_read read_pieces(const char *text, size_t piece, struct bench_reading *reading, struct buf *in) {
    size_t len = strlen(text);
    enum bench_read read = BENCH_READ_MORE;
    *reading = (struct bench_reading){0};
    buf_reset(in);
    for (size_t at = 0; at < len && read == BENCH_READ_MORE; at += piece) {
        buf_add(in, text + at, len - at < piece ? len - at : piece);
        read = bench_read(reading, in);
        if (read == BENCH_READ_WHOLE)
            assert_true(at + piece >= len); /* not before its last byte */
    }
    return read;
}

static void reads(const char *text, int status, const char *body, bool closes) {
    struct bench_reading reading;
    BUF_AUTO in = {0};
    for (size_t piece = 1; piece <= strlen(text); piece++) {
        assert_int_equal(read_pieces(text, piece, &reading, &in), BENCH_READ_WHOLE);
        assert_int_equal(reading.status, status);
        assert_int_equal(reading.end - reading.body, strlen(body));
        assert_memory_equal(in.ptr + reading.body, body, strlen(body));
        assert_int_equal(reading.closes, closes);
    }
}

static void is_bad(const char *text) {
    struct bench_reading reading;
    BUF_AUTO in = {0};
    for (size_t piece = 1; piece <= strlen(text); piece++)
        assert_int_equal(read_pieces(text, piece, &reading, &in), BENCH_READ_BAD);
}

static void a_body_of_a_length(void **state) {
    (void)state;
    reads("HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\nX: y\r\n\r\nhello", 202, "hello", false);
    reads("HTTP/1.1 503 Service Unavailable\r\ncontent-length:  2\r\nConnection: close\r\n\r\n{}", 503, "{}", true);
    reads("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", false);
}

static void a_body_in_chunks(void **state) {
    (void)state;
    reads("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nC;x=y\r\n to\r\nall of \r\n0\r\n\r\n",
          200, "hello to\r\nall of ", false);
    reads("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: t\r\n\r\n", 200, "", false);
}

static void what_cannot_be_an_answer(void **state) {
    (void)state;
    is_bad("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n");
    is_bad("HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n");
    is_bad("HTTP/1.1 200 OK\r\n\r\n");
    is_bad("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n");
    is_bad("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n");
    is_bad("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
    is_bad("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n");
    is_bad("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n");
    is_bad("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nhello\r\n");
    is_bad("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFF\r\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_of_a_length),
        cmocka_unit_test(a_body_in_chunks),
        cmocka_unit_test(what_cannot_be_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

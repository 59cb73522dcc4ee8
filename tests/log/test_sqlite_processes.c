/* The embedded log among processes: killed at any moment, cut off at any byte, a second writer, readers elsewhere. */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/log/log_test.h"
#include "tests/log/temp_folder.h"

static struct temp_folder folder;
static char url[sizeof folder.path + 32];
static const char *path; /* within url */

static int setup(void **state) {
    (void)state;
    if (!temp_folder_make(&folder))
        return -1;
    snprintf(url, sizeof url, "sqlite://%s/log.db", folder.path);
    path = url + strlen("sqlite://");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    temp_folder_remove(&folder);
    return 0;
}

/* ---- a process that appends until it is killed ---- */

enum { PARTITIONS = 3 };

/* What it says over the pipe of each record acknowledged; small enough to be written in one piece. */
struct acknowledged {
    int64_t offset;
    int32_t partition;
    uint32_t number;
};

struct told {
    int fd;
    uint32_t number;
};

static void tell(void *user, enum log_outcome outcome, int32_t partition, int64_t offset, const struct err *err) {
    struct told *told = user;
    (void)err;
    const struct acknowledged message = {offset, partition, told->number};
    if (outcome != LOG_PERSISTED || write(told->fd, &message, sizeof message) != sizeof message)
        _exit(1);
    free(told);
}

static void append_for_ever(int fd, uint32_t number) {
    struct log *log;
    struct log_producer *producer;
    struct err err;
    const struct log_topic_spec spec = {"t", PARTITIONS, -1, false};
    if (!log_open(url, NULL, &log, &err) || !log_topics_create(log, &spec, 1, &err) ||
        !log_producer_open(log, NULL, &producer, &err))
        _exit(1);
    for (;; number++) {
        struct told *told = malloc(sizeof *told);
        *told = (struct told){fd, number};
        char value[300];
        int len = snprintf(value, sizeof value, "%u ", number);
        memset(value + len, 'x', sizeof value - (size_t)len);
        const struct log_record record = {.topic = STR("t"),
                                          .partition = (int32_t)(number % PARTITIONS),
                                          .value = {value, (size_t)len + number % 200}};
        while (!log_append(producer, &record, tell, told, &err))
            clock_sleep_ms(1);
        if (number % 1000 == 0)
            clock_sleep_ms(1);
    }
}

static pid_t start_appending(int *ret_fd, uint32_t number) {
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (child == 0) {
        close(pipe_fds[0]);
        append_for_ever(pipe_fds[1], number);
    }
    assert_true(child > 0);
    close(pipe_fds[1]);
    *ret_fd = pipe_fds[0];
    return child;
}

static void finish(pid_t child, int by_signal) {
    int status;
    if (by_signal)
        kill(child, by_signal);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (by_signal)
        assert_true(WIFSIGNALED(status));
    else
        assert_int_equal(status, 0);
}

/* Everything acknowledged so far: the number of the record at each place. */
struct ledger {
    uint32_t *numbers[PARTITIONS];
    int64_t count[PARTITIONS];
    uint32_t last;
    size_t messages;
};

static void ledger_add(struct ledger *ledger, struct acknowledged message) {
    int32_t p = message.partition;
    assert_in_range(p, 0, PARTITIONS - 1);
    assert_true(message.offset >= ledger->count[p]);
    ledger->numbers[p] = realloc(ledger->numbers[p], ((size_t)message.offset + 1) * sizeof(uint32_t));
    while (ledger->count[p] < message.offset) /* kept, but killed before it was said */
        ledger->numbers[p][ledger->count[p]++] = UINT32_MAX;
    ledger->numbers[p][ledger->count[p]++] = message.number;
    ledger->messages++;
    if (message.number > ledger->last)
        ledger->last = message.number;
}

/* Reads so many messages, for about so long; a negative bound is none. */
static void ledger_read(struct ledger *ledger, int fd, int count, int64_t for_ms) {
    int64_t until_us = for_ms < 0 ? INT64_MAX : clock_monotonic_us() + for_ms * 1000;
    struct acknowledged message;
    while (count-- && clock_monotonic_us() < until_us && read(fd, &message, sizeof message) == sizeof message)
        ledger_add(ledger, message);
}

static void ledger_free(struct ledger *ledger) {
    for (int p = 0; p < PARTITIONS; p++)
        free(ledger->numbers[p]);
}

static uint32_t number_of(const struct log_record *record) {
    char text[16] = "";
    memcpy(text, record->value.ptr, record->value.len < 15 ? record->value.len : 15);
    return (uint32_t)strtoul(text, NULL, 10);
}

/* All is there without a gap, numbers rising, and what was acknowledged is what it was. */
static void check_log(const char *log_url, const struct ledger *ledger, bool complete) {
    struct log *log = NULL;
    struct log_consumer *consumer;
    MUST(log_open(log_url, NULL, &log, err));
    MUST(log_consumer_open_manual(log, &consumer, err));
    int64_t left = 0, next[PARTITIONS] = {0}, last[PARTITIONS];
    for (int32_t p = 0; p < PARTITIONS; p++) {
        last[p] = -1;
        left += high_of(log, "t", p);
        if (complete)
            assert_true(high_of(log, "t", p) >= ledger->count[p]);
        MUST(log_consumer_seek(consumer, STR("t"), p, 0, err));
    }
    while (left > 0) {
        struct log_batch batch = {0};
        MUST(log_consumer_poll(consumer, 1000, 1000, &batch, err));
        for (size_t i = 0; i < batch.count; i++, left--) {
            const struct log_record *record = &batch.records[i];
            int32_t p = record->partition;
            uint32_t number = number_of(record);
            assert_int_equal(record->offset, next[p]++);
            assert_true((int64_t)number > last[p]);
            last[p] = number;
            if (record->offset < ledger->count[p] && ledger->numbers[p][record->offset] != UINT32_MAX)
                assert_int_equal(number, ledger->numbers[p][record->offset]);
        }
    }
    log_consumer_close(consumer);
    log_close(log);
}

static void killed_at_any_moment(void **state) {
    (void)state;
    struct ledger ledger = {0};
    srand(7);
    for (int round = 0; round < 20; round++) {
        int fd;
        /* Numbers go on well above what may be in the log without having been acknowledged. */
        pid_t child = start_appending(&fd, ledger.last + 10000000);
        ledger_read(&ledger, fd, 1, -1);
        ledger_read(&ledger, fd, -1, rand() % 60);
        finish(child, SIGKILL);
        ledger_read(&ledger, fd, -1, -1);
        close(fd);
        if (round % 4 == 3)
            check_log(url, &ledger, true);
    }
    assert_true(ledger.messages > 20);
    ledger_free(&ledger);
}

/* ---- a machine that stops: the end of the write-ahead log is missing ---- */

static void copy_file(const char *from, const char *to, int64_t max) {
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_non_null(out);
    for (int c; in && max > 0 && (c = getc(in)) != EOF; max--)
        putc(c, out);
    if (in)
        fclose(in);
    fclose(out);
}

static void cut_off_at_any_byte(void **state) {
    (void)state;
    struct ledger ledger = {0};
    char wal[sizeof url + 8], copy[sizeof url + 8], copy_wal[sizeof url + 8], copy_shm[sizeof url + 8],
        copy_url[sizeof url + 8];
    snprintf(wal, sizeof wal, "%s-wal", path);
    snprintf(copy, sizeof copy, "%s/copy.db", folder.path);
    snprintf(copy_wal, sizeof copy_wal, "%s/copy.db-wal", folder.path);
    snprintf(copy_shm, sizeof copy_shm, "%s/copy.db-shm", folder.path);
    snprintf(copy_url, sizeof copy_url, "sqlite://%s/copy.db", folder.path);
    int fd;
    pid_t child = start_appending(&fd, 0);
    ledger_read(&ledger, fd, 1500, -1); /* less than what begins a checkpoint: it may come before the cut */
    finish(child, SIGKILL);
    ledger_read(&ledger, fd, -1, -1);
    close(fd);
    struct stat size;
    assert_int_equal(stat(wal, &size), 0);
    srand(11);
    for (int round = 0; round < 20; round++) {
        /* The tables' making is in the first pages, and on the disk before anything was acknowledged. */
        int64_t least = 200000, cut = least + rand() % (size.st_size > least ? size.st_size - least : 1);
        copy_file(path, copy, INT64_MAX);
        copy_file(wal, copy_wal, cut);
        unlink(copy_shm);
        check_log(copy_url, &ledger, cut >= size.st_size);
    }
    ledger_free(&ledger);
}

/* ---- the writer's lock ---- */

static void second_writer_is_refused(void **state) {
    (void)state;
    int fd;
    pid_t child = start_appending(&fd, 0);
    struct acknowledged first;
    assert_int_equal(read(fd, &first, sizeof first), sizeof first);
    struct log *log = NULL;
    struct err refused = {0};
    assert_false(log_open(url, NULL, &log, &refused));
    assert_int_equal(refused.kind, ERR_LOG_UNAVAILABLE);
    char pid[24];
    snprintf(pid, sizeof pid, "pid %ld", (long)child);
    assert_non_null(strstr(refused.detail, pid));
    finish(child, SIGKILL); /* which takes the lock with it */
    close(fd);
    MUST(log_open(url, NULL, &log, err));
    struct log *again = NULL;
    MUST_FAIL(ERR_LOG_UNAVAILABLE, log_open(url, NULL, &again, err));
    log_close(log);
    MUST(log_open(url, NULL, &log, err));
    log_close(log);
}

/* ---- readers in another process ---- */

enum { READ_ALONG = 5000 };

#define CHILD_MUST(expression)                                                                                         \
    do {                                                                                                               \
        struct err err_ = {0};                                                                                         \
        struct err *err = &err_;                                                                                       \
        (void)err;                                                                                                     \
        if (!(expression)) {                                                                                           \
            fprintf(stderr, "line %d: %s: %s\n", __LINE__, #expression, err_.detail);                                  \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static void child_read_only_limits(struct log *log) {
    struct log_producer *producer;
    const struct log_topic_spec spec = {"new", 1, -1, false};
    CHILD_MUST(!log_producer_open(log, NULL, &producer, err) && err->kind == ERR_LOG_UNAVAILABLE);
    CHILD_MUST(!log_topics_create(log, &spec, 1, err) && err->kind == ERR_LOG_UNAVAILABLE);
}

/* Follows topic t from its beginning, then u, which is made later. */
static void child_read_along(int go, int ready) {
    char byte;
    struct log *log = NULL;
    struct log_consumer *consumer = NULL;
    const struct log_options read_only = {.read_only = true};
    CHILD_MUST(read(go, &byte, 1) == 1);
    CHILD_MUST(log_open(url, &read_only, &log, err));
    child_read_only_limits(log);
    CHILD_MUST(log_consumer_open_manual(log, &consumer, err));
    CHILD_MUST(log_consumer_seek(consumer, STR("t"), 0, 0, err));
    CHILD_MUST(write(ready, "r", 1) == 1);
    int64_t next = 0, after = 0;
    while (next < READ_ALONG) {
        struct log_batch batch;
        CHILD_MUST(log_consumer_poll(consumer, 100, PATIENCE_MS, &batch, err));
        CHILD_MUST(batch.count > 0);
        for (size_t i = 0; i < batch.count; i++)
            CHILD_MUST(batch.records[i].offset == next++);
    }
    CHILD_MUST(read(go, &byte, 1) == 1);
    struct log_topic topic;
    CHILD_MUST(log_topic_find(log, STR("u"), &topic, err));
    CHILD_MUST(log_consumer_seek(consumer, STR("u"), 1, 2, err));
    struct log_batch batch;
    CHILD_MUST(log_consumer_poll(consumer, 100, PATIENCE_MS, &batch, err));
    CHILD_MUST(batch.count == 1 && batch.records[0].offset == 2);
    CHILD_MUST(log_offset_at_time(log, STR("u"), 1, clock_now_us() + 1000000, &after, err) && after == 3);
    struct log_group_position *positions;
    size_t count;
    CHILD_MUST(log_group_positions(log, &positions, &count, err));
    CHILD_MUST(count == 1 && positions[0].position.offset == 77);
    free(positions);
    log_consumer_close(consumer);
    log_close(log);
    _exit(0);
}

static void tell_position(struct log *log) {
    struct log_consumer *consumer;
    const struct str topic = STR("t");
    MUST(log_consumer_open(log, STR("g"), &topic, 1, NULL, &consumer, err));
    log_consumer_commit(consumer, &(struct log_position){topic, 0, 77}, 1);
    log_consumer_close(consumer);
    struct log_group_position *positions; /* asking has it written */
    size_t count;
    MUST(log_group_positions(log, &positions, &count, err));
    assert_int_equal(count, 1);
    free(positions);
}

static void another_process_reads_along(void **state) {
    (void)state;
    int go[2], ready[2];
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0)
        child_read_along(go[0], ready[1]);
    char byte;
    struct log *log = NULL;
    MUST(log_open(url, NULL, &log, err));
    make_topic(log, "t", 1);
    put_many(log, "t", 0, "v", 1000);
    assert_int_equal(write(go[1], "g", 1), 1);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    for (int i = 0; i < (READ_ALONG - 1000) / 2; i++) /* over the bounds of the index */
        put_many(log, "t", 0, "v", 2);
    make_topic(log, "u", 2);
    put_many(log, "u", 1, "w", 3);
    tell_position(log);
    assert_int_equal(write(go[1], "g", 1), 1);
    finish(child, 0);
    log_close(log);
    for (int i = 0; i < 2; i++) {
        close(go[i]);
        close(ready[i]);
    }
}

/* A reader in the process of the writer, or after a crash and with no writer at all, is the same. */
static void reads_without_a_writer(void **state) {
    (void)state;
    int fd;
    pid_t child = start_appending(&fd, 0);
    struct ledger ledger = {0};
    ledger_read(&ledger, fd, 2000, -1);
    finish(child, SIGKILL);
    ledger_read(&ledger, fd, -1, -1);
    close(fd);
    const struct log_options read_only = {.read_only = true};
    struct log *reader = NULL, *writer = NULL;
    MUST(log_open(url, &read_only, &reader, err));
    int64_t high = high_of(reader, "t", 0);
    assert_true(high >= ledger.count[0]);
    MUST(log_open(url, NULL, &writer, err));
    assert_true(str_eq(log_id(reader), log_id(writer)));
    assert_int_equal(high_of(writer, "t", 0), high);
    put_many(writer, "t", 0, "v", 10);
    assert_int_equal(high_of(reader, "t", 0), high + 10);
    log_close(writer);
    struct log_consumer *consumer = NULL;
    MUST(log_consumer_open_manual(reader, &consumer, err));
    MUST(log_consumer_seek(consumer, STR("t"), 0, high, err));
    struct log_batch batch = {0};
    MUST(log_consumer_poll(consumer, 100, 1000, &batch, err));
    assert_int_equal(batch.count, 10);
    log_consumer_close(consumer);
    log_close(reader);
    ledger_free(&ledger);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(killed_at_any_moment),        TEST(cut_off_at_any_byte),    TEST(second_writer_is_refused),
        TEST(another_process_reads_along), TEST(reads_without_a_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

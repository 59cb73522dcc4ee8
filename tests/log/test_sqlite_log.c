/* What the embedded log promises beyond the contract: damage is seen, a full disk loses nothing, an index that has left
 * the memory is as good as one in it. */
#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/log/sqlite.h"
#include "tests/log/log_test.h"
#include "tests/log/temp_folder.h"

static struct temp_folder folder;
static char url[sizeof folder.path + 32];
static const char *path; /* within url */

static const char *fresh(void) {
    if (!temp_folder_make(&folder))
        return NULL;
    snprintf(url, sizeof url, "sqlite://%s/log.db", folder.path);
    path = url + strlen("sqlite://");
    return url;
}

static void discard(void) {
    temp_folder_remove(&folder);
}

static int setup(void **state) {
    static const struct contract adapter = {fresh, discard};
    return contract_setup(state, &adapter);
}

/* With the log closed or not: SQLite lets a second writer in when no transaction is open. */
static void sql(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void sql(const char *format, ...) {
    BUF_AUTO text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    sqlite3 *db;
    char *message = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, text.ptr, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", text.ptr, message);
    sqlite3_close(db);
}

/* Flips the bits of one byte of a blob; negative places count from its end. */
static void damage(const char *table, int64_t rowid, int place) {
    sqlite3 *db;
    sqlite3_blob *blob;
    unsigned char byte;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_blob_open(db, "main", table, "bytes", rowid, 1, &blob), SQLITE_OK);
    if (place < 0)
        place += sqlite3_blob_bytes(blob);
    assert_int_equal(sqlite3_blob_read(blob, &byte, 1, place), SQLITE_OK);
    byte = (unsigned char)~byte;
    assert_int_equal(sqlite3_blob_write(blob, &byte, 1, place), SQLITE_OK);
    sqlite3_blob_close(blob);
    sqlite3_close(db);
}

/* ---- one commit for many appends ---- */

struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool reached, open;
};

static void gate_delivery(void *user, enum log_outcome outcome, int32_t partition, int64_t offset,
                          const struct err *err) {
    (void)outcome, (void)partition, (void)offset, (void)err;
    struct gate *gate = user;
    pthread_mutex_lock(&gate->mutex);
    gate->reached = true;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open)
        pthread_cond_wait(&gate->changed, &gate->mutex);
    pthread_mutex_unlock(&gate->mutex);
}

/* Holds the writer in a delivery: what is appended until gate_leave goes into one commit. */
static void gate_enter(struct gate *gate, struct log_producer *producer, const char *topic) {
    *gate = (struct gate){.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct log_record record = simple_record(topic, 0, "gate", "gate");
    MUST(log_append(producer, &record, gate_delivery, gate, err));
    pthread_mutex_lock(&gate->mutex);
    while (!gate->reached)
        pthread_cond_wait(&gate->changed, &gate->mutex);
    pthread_mutex_unlock(&gate->mutex);
}

static void gate_leave(struct gate *gate) {
    pthread_mutex_lock(&gate->mutex);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}

static void append(struct log_producer *producer, const char *topic, int32_t partition, const char *value,
                   struct tally *tally) {
    struct log_record record = simple_record(topic, partition, "key", value);
    MUST(log_append(producer, &record, tally_delivery, tally, err));
}

/* Commit 1 holds the gate's record in t/0; commit 2 has two records in t/0 and one in t/1; commit 3 one in t/1. */
static void three_commits(struct contract_state *s) {
    make_topic(s->log, "t", 2);
    struct log_producer *producer = open_producer(s->log);
    struct tally tally = {0};
    struct gate gate;
    gate_enter(&gate, producer, "t");
    append(producer, "t", 0, "one", &tally);
    append(producer, "t", 1, "first", &tally);
    append(producer, "t", 0, "two", &tally);
    gate_leave(&gate);
    assert_true(log_flush(producer, PATIENCE_MS));
    put(producer, "t", 1, "key", "second");
    log_producer_close(producer);
    assert_int_equal(tally.persisted, 3);
}

/* ---- damage ---- */

static void damaged_records_are_named(void **state) {
    struct contract_state *s = *state;
    three_commits(s);
    log_close(s->log);
    damage("journal", 2, -1); /* the parts are in the order of the first append: the end is t/1's value */
    MUST(log_open(url, NULL, &s->log, err));
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    poll_count(&s->arena, consumer, 3, 10); /* t/0 of the same commit is whole */
    MUST(log_consumer_seek(consumer, STR("t"), 1, 0, err));
    poll_until_error(consumer, ERR_CORRUPT, "t/1 offset 0");
    MUST(log_consumer_seek(consumer, STR("t"), 1, 1, err));
    assert_str(poll_count(&s->arena, consumer, 1, 10).items[0].value, "second");
    log_consumer_close(consumer);
}

static void damaged_heads_are_named(void **state) {
    struct contract_state *s = *state;
    three_commits(s);
    log_close(s->log);
    damage("journal", 2, 6);
    MUST(log_open(url, NULL, &s->log, err));
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    assert_str(poll_count(&s->arena, consumer, 1, 1).items[0].value, "gate");
    poll_until_error(consumer, ERR_CORRUPT, "t/0 offset 1");
    log_consumer_close(consumer);
}

static void moved_rows_are_seen(void **state) {
    struct contract_state *s = *state;
    three_commits(s);
    log_close(s->log);
    sql("UPDATE journal SET bytes = (SELECT bytes FROM journal WHERE id = 3) WHERE id = 2");
    MUST(log_open(url, NULL, &s->log, err));
    struct log_consumer *consumer = open_reader(s->log, "t", 2);
    for (int i = 0; i < 2; i++) {
        struct err err = {0};
        struct log_batch batch;
        while (log_consumer_poll(consumer, 1, 100, &batch, &err))
            assert_int_not_equal(batch.count, 0);
        assert_int_equal(err.kind, ERR_CORRUPT);
    }
    log_consumer_close(consumer);
}

static void damaged_index_is_named(void **state) {
    struct contract_state *s = *state;
    three_commits(s);
    log_close(s->log);
    damage("part", 0, -1);
    MUST(log_open(url, NULL, &s->log, err));
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    poll_until_error(consumer, ERR_CORRUPT, "t/0");
    log_consumer_close(consumer);
}

static void missing_rows_are_lost_records(void **state) {
    struct contract_state *s = *state;
    three_commits(s);
    log_close(s->log);
    sql("DELETE FROM journal WHERE id = 2; DELETE FROM part WHERE id = 1 << 40");
    MUST(log_open(url, NULL, &s->log, err));
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    assert_str(poll_count(&s->arena, consumer, 1, 1).items[0].value, "gate");
    poll_until_error(consumer, ERR_LOST_RECORDS, "t/0 offset 1");
    log_consumer_close(consumer);
}

/* After a crash the last commits are read on opening: where they cannot be, no offset would be sure. */
static void damage_in_the_unindexed_end_refuses_to_open(void **state) {
    struct contract_state *s = *state;
    three_commits(s);
    log_close(s->log);
    sql("UPDATE meta SET value = 0 WHERE key = 'indexed'; DELETE FROM part");
    MUST(log_open(url, NULL, &s->log, err)); /* whole, that is fine */
    assert_int_equal(high_of(s->log, "t", 0), 3);
    assert_int_equal(high_of(s->log, "t", 1), 2);
    log_close(s->log);
    s->log = NULL;
    damage("journal", 2, 1);
    sql("UPDATE meta SET value = 0 WHERE key = 'indexed'; DELETE FROM part");
    MUST_FAIL(ERR_CORRUPT, log_open(url, NULL, &s->log, err));
    sql("DELETE FROM journal WHERE id = 2");
    MUST_FAIL(ERR_LOST_RECORDS, log_open(url, NULL, &s->log, err));
}

/* ---- what is no log ---- */

static void other_files_are_refused_and_left_alone(void **state) {
    struct contract_state *s = *state;
    log_close(s->log);
    s->log = NULL;
    const struct log_options read_only = {.read_only = true};
    remove(path);
    MUST_FAIL(ERR_NOT_FOUND, log_open(url, &read_only, &s->log, err));
    sql("CREATE TABLE someone(elses)");
    MUST_FAIL(ERR_CONFIG, log_open(url, NULL, &s->log, err));
    MUST_FAIL(ERR_CONFIG, log_open(url, &read_only, &s->log, err));
    struct stat wal;
    char wal_path[sizeof url];
    snprintf(wal_path, sizeof wal_path, "%s-wal", path);
    assert_int_not_equal(stat(wal_path, &wal), 0);
    FILE *file = fopen(path, "w");
    fprintf(file, "This is not a database, but is long enough to be one, or so one would think. %100s", "");
    fclose(file);
    MUST_FAIL(ERR_CORRUPT, log_open(url, NULL, &s->log, err));
    MUST_FAIL(ERR_CONFIG, log_open("sqlite://", NULL, &s->log, err));
    MUST_FAIL(ERR_CONFIG, log_open("mysql://u:secret@h/", NULL, &s->log, err));
    MUST_FAIL(ERR_IO, log_open("sqlite:///nowhere/at/all/log.db", NULL, &s->log, err));
    remove(path);
    MUST(log_open(url, NULL, &s->log, err));
    log_close(s->log);
    sql("UPDATE meta SET value = 2 WHERE key = 'format'");
    s->log = NULL;
    MUST_FAIL(ERR_CONFIG, log_open(url, NULL, &s->log, err));
}

/* ---- the index ---- */

/* One commit each; t/0 in all, t/1 in every seventh. */
static void many_commits(struct contract_state *s, int count) {
    struct log_producer *producer = open_producer(s->log);
    for (int i = 0; i < count; i++) {
        char text[32];
        snprintf(text, sizeof text, "%d", i);
        put(producer, "t", 0, text, text);
        if (i % 7 == 0)
            put(producer, "t", 1, text, text);
    }
    log_producer_close(producer);
}

static void check_commits(struct contract_state *s, int count) {
    int seventh = (count + 6) / 7;
    assert_int_equal(high_of(s->log, "t", 0), count);
    assert_int_equal(high_of(s->log, "t", 1), seventh);
    struct log_consumer *consumer = open_reader(s->log, "t", 2);
    struct kept kept = poll_count(&s->arena, consumer, (size_t)(count + seventh), 100);
    int64_t next[2] = {0};
    for (size_t i = 0; i < kept.count; i++) {
        int32_t p = kept.items[i].partition;
        assert_int_equal(kept.items[i].offset, next[p]);
        assert_text_number(kept.items[i].value, "", (int)(next[p]++ * (p ? 7 : 1)));
    }
    for (int i = 0; i < count; i += 97) {
        MUST(log_consumer_seek(consumer, STR("t"), 0, i, err));
        log_consumer_pause(consumer, STR("t"), 1);
        assert_text_number(poll_count(&s->arena, consumer, 1, 1).items[0].value, "", i);
    }
    for (size_t i = 0; i < kept.count; i += 101) {
        int64_t offset;
        MUST(log_offset_at_time(s->log, STR("t"), kept.items[i].partition, kept.items[i].timestamp_us, &offset, err));
        assert_true(offset <= kept.items[i].offset);
        for (size_t k = 0; k < i; k++) /* nothing at or after that time comes earlier */
            if (kept.items[k].partition == kept.items[i].partition && kept.items[k].offset < offset)
                assert_true(kept.items[k].timestamp_us < kept.items[i].timestamp_us);
    }
    log_consumer_close(consumer);
}

static void index_on_disk_is_as_good_as_in_memory(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 2);
    many_commits(s, 2500); /* memory forgets the first, the disk lacks the last */
    check_commits(s, 2500);
    contract_reopen(s); /* all on disk, nothing in memory */
    check_commits(s, 2500);
    log_close(s->log);
    sql("UPDATE meta SET value = 0 WHERE key = 'indexed'; DELETE FROM part");
    MUST(log_open(url, NULL, &s->log, err)); /* all in memory, nothing on disk */
    check_commits(s, 2500);
}

static void reads_what_has_left_the_tail(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    struct log_producer *producer = open_producer(s->log);
    char *bytes = malloc(1 << 20);
    for (int i = 0; i < 24; i++) {
        memset(bytes, 'a' + i, 1 << 20);
        struct log_record record = {.topic = STR("t"), .partition = 0, .value = {bytes, 1 << 20}};
        MUST(log_append_wait(producer, &record, PATIENCE_MS, NULL, NULL, err));
    }
    log_producer_close(producer);
    free(bytes);
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    struct kept kept = poll_count(&s->arena, consumer, 24, 100);
    for (int i = 0; i < 24; i++)
        assert_int_equal(kept.items[i].value.ptr[kept.items[i].value.len - 1], 'a' + i);
    log_consumer_close(consumer);
}

/* From the database, one partition far ahead of the other: a seek must not take away what the poll has handed out. */
static void records_from_disk_stay_valid(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 2);
    many_commits(s, 100);
    put_many(s->log, "t", 1, "far", 50);
    contract_reopen(s);
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    MUST(log_consumer_seek(consumer, STR("t"), 1, 15, err));
    struct log_batch batch = {0};
    MUST(log_consumer_poll(consumer, 10, 1000, &batch, err));
    assert_int_equal(batch.count, 10);
    MUST(log_consumer_seek(consumer, STR("t"), 0, 0, err));
    MUST(log_consumer_seek(consumer, STR("t"), 1, 0, err));
    bool both[2] = {false, false};
    for (size_t i = 0; i < batch.count; i++) {
        const struct log_record *record = &batch.records[i];
        both[record->partition] = true;
        assert_text_number(record->value, record->partition ? "far" : "",
                           (int)record->offset - (record->partition ? 15 : 0));
    }
    assert_true(both[0] && both[1]);
    log_consumer_close(consumer);
}

/* There is always someone with a transaction open, one after the other, as many pollers may be. */
struct overlapping {
    _Atomic bool stop;
    bool failed;
};

static void *overlapping_main(void *user) {
    struct overlapping *readers = user;
    sqlite3 *dbs[2];
    for (int i = 0; i < 2; i++)
        readers->failed |= sqlite3_open(path, &dbs[i]) != SQLITE_OK;
    for (int turn = 0; !readers->stop && !readers->failed; turn = !turn) {
        readers->failed |= sqlite3_exec(dbs[turn], "BEGIN; SELECT count(*) FROM meta", NULL, NULL, NULL) != SQLITE_OK;
        sqlite3_exec(dbs[!turn], "COMMIT", NULL, NULL, NULL);
        clock_sleep_ms(2);
    }
    for (int i = 0; i < 2; i++)
        sqlite3_close(dbs[i]);
    return NULL;
}

static void write_ahead_log_is_bounded(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    struct overlapping readers = {.failed = false};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, overlapping_main, &readers), 0);
    struct log_producer *producer = open_producer(s->log);
    char *bytes = calloc(1, 1 << 20);
    struct log_record record = {.topic = STR("t"), .partition = 0, .value = {bytes, 1 << 20}};
    for (int i = 0; i < 120; i++)
        MUST(log_append_wait(producer, &record, PATIENCE_MS, NULL, NULL, err));
    readers.stop = true;
    pthread_join(thread, NULL);
    assert_false(readers.failed);
    log_producer_close(producer);
    free(bytes);
    struct stat wal;
    char wal_path[sizeof url];
    snprintf(wal_path, sizeof wal_path, "%s-wal", path);
    assert_int_equal(stat(wal_path, &wal), 0);
    assert_true(wal.st_size < 80 << 20);
}

/* ---- failing commits ---- */

struct outcomes {
    _Atomic int persisted, not_persisted, unknown;
    _Atomic int64_t last_offset;
    bool disorder;
};

static void outcomes_delivery(void *user, enum log_outcome outcome, int32_t partition, int64_t offset,
                              const struct err *err) {
    struct outcomes *outcomes = user;
    (void)partition;
    if (outcome == LOG_PERSISTED) {
        outcomes->disorder |= err || offset != outcomes->last_offset + 1;
        outcomes->last_offset = offset;
        outcomes->persisted++;
    } else {
        enum err_kind kind = outcome == LOG_NOT_PERSISTED ? ERR_LOG_UNAVAILABLE : ERR_OUTCOME_UNKNOWN;
        outcomes->disorder |= !err || (err->kind != kind && err->kind != ERR_TIMEOUT) || offset != -1;
        *(outcome == LOG_NOT_PERSISTED ? &outcomes->not_persisted : &outcomes->unknown) += 1;
    }
}

static void check_log_holds(struct contract_state *s, int64_t count) {
    assert_int_equal(high_of(s->log, "t", 0), count);
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    struct kept kept = poll_count(&s->arena, consumer, (size_t)count, 1000);
    for (size_t i = 0; i < kept.count; i++)
        assert_int_equal(kept.items[i].offset, i);
    log_consumer_close(consumer);
}

/* Appends until a delivery fails or, that being wrong, for long. */
static void append_until_failure(struct log_producer *producer, struct outcomes *outcomes) {
    char bytes[10000] = "";
    const struct log_record record = {.topic = STR("t"), .partition = 0, .value = {bytes, sizeof bytes}};
    for (int i = 0; i < 20000 && !outcomes->not_persisted && !outcomes->unknown; i++)
        if (!log_append(producer, &record, outcomes_delivery, outcomes, NULL))
            clock_sleep_ms(1);
    assert_true(log_flush(producer, PATIENCE_MS));
    assert_true(outcomes->not_persisted > 0);
    assert_false(outcomes->disorder);
}

static void full_disk_loses_nothing(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    log_sqlite_limit_pages(s->log, 200);
    struct log_producer *outbox = open_producer(s->log), *api;
    const struct log_producer_options with_timeout = {.delivery_timeout_ms = PATIENCE_MS};
    MUST(log_producer_open(s->log, &with_timeout, &api, err));
    struct outcomes outcomes = {.last_offset = -1};
    append_until_failure(outbox, &outcomes);
    check_log_holds(s, outcomes.persisted);
    /* One that must keep the order is broken for good, the other may try again. */
    log_sqlite_limit_pages(s->log, 1);
    char bytes[100000] = "";
    const struct log_record record = {.topic = STR("t"), .partition = 0, .value = {bytes, sizeof bytes}};
    MUST_FAIL(ERR_LOG_UNAVAILABLE, log_append(outbox, &record, NULL, NULL, err));
    MUST_FAIL(ERR_LOG_UNAVAILABLE, log_append_wait(api, &record, PATIENCE_MS, NULL, NULL, err));
    log_sqlite_limit_pages(s->log, 0);
    MUST_FAIL(ERR_LOG_UNAVAILABLE, log_append(outbox, &record, NULL, NULL, err));
    int64_t offset = -1;
    MUST(log_append_wait(api, &record, PATIENCE_MS, NULL, &offset, err));
    assert_int_equal(offset, outcomes.persisted);
    log_producer_close(outbox);
    log_producer_close(api);
    contract_reopen(s);
    check_log_holds(s, outcomes.persisted + 1);
}

/* A failure takes everything that the producer had queued behind it along. */
static void queued_appends_fail_with_the_first(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    struct log_producer *producer = open_producer(s->log);
    struct gate gate;
    gate_enter(&gate, producer, "t");
    log_sqlite_limit_pages(s->log, 1);
    struct outcomes outcomes = {.last_offset = 0};
    char bytes[100000] = "";
    const struct log_record large = {.topic = STR("t"), .partition = 0, .value = {bytes, sizeof bytes}},
                            small = simple_record("t", 0, "k", "v");
    for (int i = 0; i < 100; i++) /* more than one commit takes */
        MUST(log_append(producer, i % 50 ? &small : &large, outcomes_delivery, &outcomes, err));
    for (int i = 0; i < 5000; i++)
        MUST(log_append(producer, &small, outcomes_delivery, &outcomes, err));
    gate_leave(&gate);
    assert_true(log_flush(producer, PATIENCE_MS));
    assert_int_equal(outcomes.persisted, 0);
    assert_int_equal(outcomes.not_persisted, 5100);
    assert_false(outcomes.disorder);
    log_producer_close(producer);
    check_log_holds(s, 1);
}

static void expired_appends_are_not_written(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    struct log_producer *slow = open_producer(s->log), *hasty;
    const struct log_producer_options options = {.delivery_timeout_ms = 1};
    MUST(log_producer_open(s->log, &options, &hasty, err));
    struct gate gate;
    gate_enter(&gate, slow, "t");
    struct outcomes outcomes = {.last_offset = 0};
    const struct log_record record = simple_record("t", 0, "k", "v");
    MUST(log_append(hasty, &record, outcomes_delivery, &outcomes, err));
    clock_sleep_ms(20);
    gate_leave(&gate);
    assert_true(log_flush(hasty, PATIENCE_MS));
    assert_int_equal(outcomes.not_persisted, 1);
    log_producer_close(hasty);
    log_producer_close(slow);
    check_log_holds(s, 1);
}

/* A caller of log_append_wait that has given up leaves nothing behind that the delivery could trip over. */
static void waiting_is_given_up(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    struct log_producer *producer = open_producer(s->log);
    struct gate gate;
    gate_enter(&gate, producer, "t");
    const struct log_record record = simple_record("t", 0, "k", "v");
    MUST_FAIL(ERR_OUTCOME_UNKNOWN, log_append_wait(producer, &record, 10, NULL, NULL, err));
    assert_false(log_flush(producer, 10));
    gate_leave(&gate);
    log_producer_close(producer);
    check_log_holds(s, 2);
}

/* A small file system that fills up, in a mount namespace of its own: the commit itself fails, not the insert. */
static void full_file_system(void) {
    struct contract_state state = {.url = url}, *s = &state;
    char filler[sizeof folder.path + 16];
    snprintf(filler, sizeof filler, "%s/filler", folder.path);
    arena_init(&s->arena);
    FILE *file = fopen(filler, "w");
    for (int i = 0; i < 2 << 20; i++)
        fputc('x', file);
    fclose(file);
    MUST(log_open(url, NULL, &s->log, err));
    make_topic(s->log, "t", 1);
    for (int round = 0; round < 2; round++) {
        struct log_producer *producer = open_producer(s->log);
        struct outcomes outcomes = {.last_offset = high_of(s->log, "t", 0) - 1};
        append_until_failure(producer, &outcomes);
        log_producer_close(producer);
        assert_int_equal(outcomes.unknown, 0);
        check_log_holds(s, outcomes.last_offset + 1);
        assert_int_equal(unlink(filler), round ? -1 : 0);
    }
    int64_t high = high_of(s->log, "t", 0);
    contract_reopen(s);
    check_log_holds(s, high);
    log_close(s->log);
    arena_free(&s->arena);
}

static void full_file_system_loses_nothing(void **state) {
    struct contract_state *s = *state;
    log_close(s->log);
    s->log = NULL;
    remove(path);
    pid_t child = fork();
    if (child == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("none", folder.path, "tmpfs", 0, "size=6m") != 0)
            _exit(77);
        full_file_system();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

/* ---- a disk whose fsync fails ---- */

static sqlite3_vfs failing_vfs, *real_vfs;
static sqlite3_io_methods failing_methods;
static const sqlite3_io_methods *real_methods;
static _Atomic int failing_syncs;

static int failing_sync(sqlite3_file *file, int flags) {
    if (failing_syncs > 0) {
        failing_syncs--;
        return SQLITE_IOERR_FSYNC;
    }
    return real_methods->xSync(file, flags);
}

static int failing_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags) {
    (void)vfs;
    int rc = real_vfs->xOpen(real_vfs, name, file, flags, ret_flags);
    if (rc == SQLITE_OK && flags & SQLITE_OPEN_WAL) {
        real_methods = file->pMethods;
        failing_methods = *real_methods;
        failing_methods.xSync = failing_sync;
        file->pMethods = &failing_methods;
    }
    return rc;
}

static int setup_failing_disk(void **state) {
    real_vfs = sqlite3_vfs_find(NULL);
    failing_vfs = *real_vfs;
    failing_vfs.zName = "failing";
    failing_vfs.pNext = NULL;
    failing_vfs.xOpen = failing_open;
    sqlite3_vfs_register(&failing_vfs, 1);
    return setup(state);
}

static int teardown_failing_disk(void **state) {
    int rc = contract_teardown(state);
    sqlite3_vfs_unregister(&failing_vfs);
    sqlite3_vfs_register(real_vfs, 1);
    return rc;
}

static void failed_fsync_is_made_certain(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    put_many(s->log, "t", 0, "v", 5);
    struct outcomes outcomes = {.last_offset = 4};
    const struct log_record record = simple_record("t", 0, "k", "v");
    struct log_producer *producer = open_producer(s->log);
    failing_syncs = 1;
    MUST(log_append(producer, &record, outcomes_delivery, &outcomes, err));
    log_producer_close(producer);
    assert_int_equal(outcomes.not_persisted, 1);
    assert_int_equal(outcomes.unknown, 0);
    check_log_holds(s, 5);
    put_many(s->log, "t", 0, "w", 5);
    check_log_holds(s, 10);
    contract_reopen(s);
    check_log_holds(s, 10);
}

static void failed_fsync_may_stay_unknown(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    put_many(s->log, "t", 0, "v", 5);
    struct outcomes outcomes = {.last_offset = 4};
    const struct log_record record = simple_record("t", 0, "k", "lost");
    struct log_producer *producer = open_producer(s->log);
    failing_syncs = 2;
    MUST(log_append(producer, &record, outcomes_delivery, &outcomes, err));
    log_producer_close(producer);
    assert_int_equal(outcomes.unknown, 1);
    assert_int_equal(failing_syncs, 0);
    put_many(s->log, "t", 0, "w", 5);
    check_log_holds(s, 10);
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    struct kept kept = poll_count(&s->arena, consumer, 10, 10);
    for (size_t i = 0; i < 10; i++)
        assert_text_number(kept.items[i].value, i < 5 ? "v" : "w", (int)i % 5);
    log_consumer_close(consumer);
    contract_reopen(s);
    check_log_holds(s, 10);
}

static void failed_positions_are_written_later(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    struct log_consumer *consumer = NULL;
    const struct str topic = STR("t");
    MUST(log_consumer_open(s->log, STR("g"), &topic, 1, NULL, &consumer, err));
    failing_syncs = 2;
    log_consumer_commit(consumer, &(struct log_position){topic, 0, 5}, 1);
    int64_t until_us = clock_monotonic_us() + PATIENCE_MS * 1000LL;
    struct log_group_position *positions = NULL;
    size_t count = 0;
    while (!count && clock_monotonic_us() < until_us) {
        free(positions);
        MUST(log_group_positions(s->log, &positions, &count, err));
    }
    assert_int_equal(failing_syncs, 0);
    assert_int_equal(count, 1);
    assert_int_equal(positions[0].position.offset, 5);
    free(positions);
    log_consumer_close(consumer);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, contract_teardown)
#define TEST_FAILING_DISK(name) cmocka_unit_test_setup_teardown(name, setup_failing_disk, teardown_failing_disk)
    const struct CMUnitTest tests[] = {
        TEST(damaged_records_are_named),
        TEST(damaged_heads_are_named),
        TEST(moved_rows_are_seen),
        TEST(damaged_index_is_named),
        TEST(missing_rows_are_lost_records),
        TEST(damage_in_the_unindexed_end_refuses_to_open),
        TEST(other_files_are_refused_and_left_alone),
        TEST(index_on_disk_is_as_good_as_in_memory),
        TEST(reads_what_has_left_the_tail),
        TEST(records_from_disk_stay_valid),
        TEST(write_ahead_log_is_bounded),
        TEST(full_disk_loses_nothing),
        TEST(queued_appends_fail_with_the_first),
        TEST(expired_appends_are_not_written),
        TEST(waiting_is_given_up),
        TEST(full_file_system_loses_nothing),
        TEST_FAILING_DISK(failed_fsync_is_made_certain),
        TEST_FAILING_DISK(failed_fsync_may_stay_unknown),
        TEST_FAILING_DISK(failed_positions_are_written_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

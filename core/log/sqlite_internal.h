/* The embedded log, inside. One SQLite file, a journal: a row holds all the records of one commit, so that a commit
 * writes at the end of one table, however many partitions it touches. Where a partition's records are is an index: of
 * the last commits in memory, of those before in rows of a thousand entries.
 *
 * Threads: any thread appends to a queue; the writer thread commits all that waits in one transaction, publishes it to
 * the readers, and calls the deliveries. Each consumer reads on its own connection, if the tail in memory has not got
 * what it wants.
 *
 * Locks, in the order in which they are taken: `write_mutex` (the writing connection), `read_mutex` (the connection for
 * tools' questions), `mutex` (everything else that is shared, held for moments, never across I/O or a callback). */
#ifndef ORDERLOG_LOG_SQLITE_INTERNAL_H
#define ORDERLOG_LOG_SQLITE_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "core/base/arena.h"
#include "core/base/ids.h"
#include "core/base/metrics.h"
#include "core/log/adapter.h"

enum {
    SQLOG_OFFSET_BITS = 40,           /* an index row's id is tp << 40 | its first offset */
    SQLOG_TP_MAX = (1 << 23) - 1,     /* numbers of (topic, partition) pairs */
    SQLOG_GROUP_RECORDS = 4096,       /* bounds of one commit */
    SQLOG_GROUP_BYTES = 4 << 20,      /* */
    SQLOG_COMMIT_INTERVAL_US = 2000,  /* a commit begins no sooner after the one before */
    SQLOG_INDEX_COMMITS = 1024,       /* how many commits the index on disk may lack; they are read on opening */
    SQLOG_RUN_MAX = 1024,             /* entries in a row of the index */
    SQLOG_TAIL_BYTES = 8 << 20,       /* what is kept in memory for readers at the end of the log */
    SQLOG_POLL_BYTES = 8 << 20,       /* bounds what one poll hands out, whatever its `max` */
    SQLOG_POSITION_INTERVAL_MS = 200, /* groups' positions are written no more often */
    SQLOG_FOREIGN_POLL_MS = 50,       /* how often a read-only log looks for what another process wrote */
};

/* A key of the table meta while a restore is filling the log (sqlite_restore.c). */
#define SQLOG_RESTORING "restoring"

/* The records of one partition in one commit. */
struct sqlog_part {
    int64_t tp;
    int64_t base;
    int64_t count;
    uint32_t sum;
    struct str records;
};

/* One row of the journal. Immutable, shared, counted. */
struct sqlog_commit {
    atomic_int users;
    bool made_here; /* never was on disk: its sums need no check */
    int64_t id;     /* 1, 2, 3 … */
    int64_t time_us;
    size_t len;
    char *bytes; /* in the same allocation */
    size_t part_count;
    struct sqlog_part parts[];
};

/* A commit that holds records of a partition, from `base` on. */
struct sqlog_entry {
    int64_t base;
    int64_t commit;
};

/* An append that waits. */
struct sqlog_append {
    struct sqlog_append *next;              /* in the queue, then in the group of one commit */
    struct sqlog_append *next_in_partition; /* of that group */
    struct sqlog_producer *producer;
    struct sqlog_partition *partition;
    log_delivery *delivery;
    void *user;
    int64_t deadline_us; /* monotonic; 0: none */
    const struct err *failed;
    int64_t offset;
    size_t len;
    char bytes[];
};

struct sqlog_partition {
    struct sqlog_topic *topic;
    int32_t index;
    int64_t tp;

    /* the writer's, under write_mutex */
    struct sqlog_append *group_first, **group_end; /* its part of the commit being made */
    int64_t group_count;
    size_t group_bytes;
    struct sqlog_partition *group_next;

    /* under mutex; changed by the writer only (in a read-only log: with read_mutex) */
    int64_t high; /* what readers may see ends here */
    struct sqlog_entry *entries;
    size_t entry_first, entry_count, entry_cap;
    struct sqlog_consumer **watchers;
    size_t watcher_count, watcher_cap;
};

struct sqlog_topic {
    struct log_topic info;
    struct sqlog_partition partitions[];
};

/* An immutable list; a longer one takes its place, the older stay until the log is closed, so that looking up needs no
 * lock. */
struct sqlog_topics {
    struct sqlog_topics *older;
    size_t count;
    struct sqlog_topic *items[];
};

struct sqlog_position {
    struct sqlog_partition *partition;
    int64_t offset;
    int64_t time_us;
    bool dirty;
};

/* Lives as long as the log, for the sake of its positions. */
struct sqlog_group {
    struct sqlog_group *next;
    char *name;
    struct sqlog_consumer *members; /* in the order of joining */
    struct sqlog_slot {
        struct sqlog_partition *partition;
        struct sqlog_consumer *owner;
        struct sqlog_consumer *target;
    } * slots;
    size_t slot_count;
    struct sqlog_position *positions;
    size_t position_count;
};

struct sqlog {
    struct log base;
    char *path;
    bool read_only;
    int lock_fd;
    struct id id;
    _Atomic(struct sqlog_topics *) topics;

    pthread_mutex_t write_mutex;
    sqlite3 *write_db;
    sqlite3_stmt *begin, *commit, *insert, *insert_index, *set_indexed, *insert_position;
    int wal_pages, checkpoint_at;
    bool doubt; /* a transaction failed: see what is there before the next one */
    struct metric *commit_seconds;
    int64_t last_commit, last_time_us;
    int64_t indexed; /* commits up to this one are in the index on disk */
    bool loaded;

    pthread_mutex_t read_mutex;
    sqlite3 *read_db;
    int64_t data_version;

    pthread_mutex_t mutex;
    pthread_cond_t work;      /* for the writer */
    pthread_cond_t delivered; /* for those who flush */
    struct sqlog_append *queue, **queue_end;
    bool closing;
    int64_t positions_due_us;   /* 0: nothing to be written */
    struct sqlog_commit **tail; /* the last commits, without a gap, from tail_first on */
    size_t tail_first, tail_count, tail_cap, tail_bytes;
    struct sqlog_group *groups;
    pthread_t writer;
};

struct sqlog_producer {
    struct log_producer base;
    struct log_producer_options options;
    /* under mutex */
    size_t queued_bytes;
    size_t queued_count;
    bool broken;
};

/* How far a consumer has read in a partition. */
struct sqlog_read {
    struct sqlog_partition *partition;
    int64_t offset; /* the next; valid when active */
    int64_t high;   /* as seen at the start of the poll */
    bool active;
    bool suspect;                /* failed after other records were taken: say so in the next poll */
    bool failed;                 /* the last poll said so: let the others go first in this one */
    int64_t next_commit;         /* a poll's */
    int polls_without;           /* since it last gave records */
    struct sqlog_commit *commit; /* what `rest` points into, or NULL */
    struct str rest;
    int64_t left;            /* records in rest */
    struct sqlog_entry *run; /* the entries that come next, from run_at on */
    size_t run_at, run_count;
};

struct sqlog_consumer {
    struct log_consumer base;
    struct sqlog_group *group; /* NULL: manual */
    struct log_listener listener;
    struct sqlog_topic **topics;
    size_t topic_count;
    struct sqlog_consumer *next_member;

    /* under mutex */
    pthread_cond_t wakeup;
    bool ready, woken, rebalance;
    void (*notify)(void *user); /* may be NULL */
    void *notify_user;

    /* the consumer's thread only */
    struct sqlog_read *reads;
    size_t read_count, read_cap, turn;
    struct log_record *records;
    size_t record_count, record_cap, record_bytes;
    struct sqlog_commit **held; /* what the records of the last poll point into */
    size_t held_count, held_cap;
    struct arena arena;
    struct sqlog_commit *row; /* the last one read from the database: other partitions want it too */
    sqlite3 *db;
    sqlite3_stmt *select_commit, *select_index;
};

static inline struct sqlog *sqlog_of(const struct log *log) {
    return (struct sqlog *)log;
}

static inline int64_t sqlog_row_id(const struct sqlog_partition *partition, int64_t offset) {
    return partition->tp << SQLOG_OFFSET_BITS | offset;
}

static inline int64_t sqlog_row_offset(int64_t id) {
    return id & (((int64_t)1 << SQLOG_OFFSET_BITS) - 1);
}

/* ---- sqlite_db.c: SQLite with our errors ---- */

CHECK_RESULT bool sqlog_db_open(const struct sqlog *log, bool write, sqlite3 **ret, struct err *err);
CHECK_RESULT bool sqlog_db_exec(sqlite3 *db, const char *sql, struct err *err);
CHECK_RESULT bool sqlog_db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, struct err *err);
/* Steps a statement that gives no rows, and resets it. */
CHECK_RESULT bool sqlog_db_run(sqlite3_stmt *stmt, struct err *err);
/* The first column of the first row, 0 without one. */
CHECK_RESULT bool sqlog_db_read_i64(sqlite3 *db, const char *sql, int64_t *ret, struct err *err);
/* Fills err from the connection's last error. */
bool sqlog_db_err(sqlite3 *db, struct err *err);
void sqlog_stmt_close(sqlite3_stmt **stmt);
#define STMT_AUTO __attribute__((cleanup(sqlog_stmt_close))) sqlite3_stmt

/* ---- sqlite_schema.c ---- */

CHECK_RESULT bool sqlog_schema_check(const struct sqlog *log, sqlite3 *db, bool write, struct err *err);
/* Makes the tables if there are none. */
CHECK_RESULT bool sqlog_schema_prepare(struct sqlog *log, struct err *err);
/* Checks the format, reads the log's id. */
CHECK_RESULT bool sqlog_schema_read(struct sqlog *log, struct err *err);

/* ---- sqlite_topics.c ---- */

struct sqlog_partition *sqlog_partition_find(struct sqlog *log, struct str topic, int32_t partition, struct err *err);
struct sqlog_partition *sqlog_partition_by_tp(struct sqlog *log, int64_t tp); /* or NULL */
struct sqlog_topic *sqlog_topic_find(struct sqlog *log, struct str name);
CHECK_RESULT bool sqlog_topics_load(struct sqlog *log, sqlite3 *db, struct err *err);
void sqlog_topics_free(struct sqlog *log);
bool sqlog_topics_create(struct log *log, const struct log_topic_spec *specs, size_t count, struct err *err);

/* ---- sqlite_query.c: questions of tools ---- */

bool sqlog_topic_info(struct log *log, struct str name, struct log_topic *ret, struct err *err);
bool sqlog_topics_list(struct log *log, struct log_topic **ret, size_t *ret_count, struct err *err);
bool sqlog_watermarks(struct log *log, struct str topic, int32_t partition, int64_t *ret_low, int64_t *ret_high,
                      struct err *err);
bool sqlog_offset_at_time(struct log *log, struct str topic, int32_t partition, int64_t time_us, int64_t *ret,
                          struct err *err);
bool sqlog_usage(struct log *log, struct log_usage *ret, struct err *err);

/* ---- sqlite_load.c: what the database holds ---- */

/* Sees topics and commits that are in the database and not yet in memory, and wakes their readers. `db` is the writer's
 * (with write_mutex held), in a read-only log the one for questions (with read_mutex held). */
CHECK_RESULT bool sqlog_load(struct sqlog *log, sqlite3 *db, struct err *err);
/* For a read-only log: sees what another process has written since. Takes read_mutex. */
CHECK_RESULT bool sqlog_refresh(struct sqlog *log, struct err *err);

/* ---- sqlite_commit.c: the bytes of a journal row ---- */

/* Space for `part_count` parts of `bytes` together; the caller fills in tp, base, count, records.len of each. */
struct sqlog_commit *sqlog_commit_new(size_t part_count, size_t bytes);
/* Writes the head; then each part's records.ptr says where its records go. */
void sqlog_commit_place(struct sqlog_commit *commit);
/* Once they are there: the sums. */
void sqlog_commit_seal(struct sqlog_commit *commit);
/* From a row; checks the head. The records' sums are checked by sqlog_part_check. */
CHECK_RESULT bool sqlog_commit_parse(int64_t id, int64_t time_us, const void *bytes, size_t len,
                                     struct sqlog_commit **ret, struct err *err);
CHECK_RESULT bool sqlog_part_check(const struct sqlog_part *part, struct err *err);
/* A copy of one part, which was checked, as a commit of its own. */
struct sqlog_commit *sqlog_commit_of_part(const struct sqlog_commit *commit, const struct sqlog_part *part);
struct sqlog_commit *sqlog_commit_ref(struct sqlog_commit *commit);
void sqlog_commit_unref(struct sqlog_commit *commit); /* NULL is fine */

/* ---- sqlite_tail.c: the last commits, in memory; all with mutex held ---- */

void sqlog_tail_add(struct sqlog *log, struct sqlog_commit *commit);       /* takes the reference over */
struct sqlog_commit *sqlog_tail_find(const struct sqlog *log, int64_t id); /* with a reference, or NULL */
void sqlog_tail_clear(struct sqlog *log);
/* Makes a commit known: high watermarks, index, tail, readers. Takes the reference over. Takes mutex. */
CHECK_RESULT bool sqlog_commit_publish(struct sqlog *log, struct sqlog_commit *commit, struct err *err);

/* ---- sqlite_index.c ---- */

/* With mutex held. */
void sqlog_index_add(struct sqlog_partition *partition, int64_t base, int64_t commit);
/* Inside of the writer's transaction: writes the entries that the index on disk lacks. */
CHECK_RESULT bool sqlog_index_write(struct sqlog *log, struct err *err);
/* It is committed up to this commit: what was written the time before may leave the memory. Takes mutex. */
void sqlog_index_written(struct sqlog *log, int64_t commit);
/* The entries from the one that holds the offset on, up to SQLOG_RUN_MAX; false if that one is not in memory. Takes
 * mutex. */
bool sqlog_index_recent(struct sqlog *log, const struct sqlog_partition *partition, int64_t offset,
                        struct sqlog_entry *ret, size_t *ret_count);
/* The same on disk; none when no commit there holds the offset. `stmt` is of sqlog_index_select. */
extern const char sqlog_index_select[];
CHECK_RESULT bool sqlog_index_read(sqlite3_stmt *stmt, const struct sqlog_partition *partition, int64_t offset,
                                   struct sqlog_entry *ret, size_t *ret_count, struct err *err);
/* Where the partition ends by the index on disk. */
CHECK_RESULT bool sqlog_index_end(sqlite3_stmt *stmt, const struct sqlog_partition *partition, int64_t *ret,
                                  struct err *err);
/* The partition's first offset in this commit or a later one; `high` if there is none. With read_mutex held. */
CHECK_RESULT bool sqlog_index_after(struct sqlog *log, const struct sqlog_partition *partition, int64_t commit,
                                    int64_t high, int64_t *ret, struct err *err);

/* ---- sqlite_writer.c ---- */

CHECK_RESULT bool sqlog_writer_prepare(struct sqlog *log, struct err *err);
void *sqlog_writer_main(void *log);
/* Writes the groups' positions now. Takes write_mutex. */
void sqlog_writer_flush_positions(struct sqlog *log);

/* ---- sqlite_producer.c ---- */

bool sqlog_producer_open(struct log *log, const struct log_producer_options *options, struct log_producer **ret,
                         struct err *err);
void sqlog_producer_close(struct log_producer *producer);
bool sqlog_append(struct log_producer *producer, const struct log_record *record, log_delivery *delivery, void *user,
                  struct err *err);
bool sqlog_flush(struct log_producer *producer, int64_t timeout_ms);
/* The writer is done with these: calls each delivery in turn, then gives the room back. `outcome` is for those
 * without an error of their own. */
void sqlog_deliver(struct sqlog *log, struct sqlog_append *group, enum log_outcome outcome, const struct err *err);

/* ---- sqlite_consumer.c, sqlite_fetch.c, sqlite_group.c ---- */

bool sqlog_consumer_open(struct log *log, struct str group, const struct str *topics, size_t topic_count,
                         const struct log_listener *listener, struct log_consumer **ret, struct err *err);
void sqlog_consumer_close(struct log_consumer *consumer);
bool sqlog_consumer_seek(struct log_consumer *consumer, struct str topic, int32_t partition, int64_t offset,
                         struct err *err);
void sqlog_consumer_pause(struct log_consumer *consumer, struct str topic, int32_t partition);
bool sqlog_consumer_poll(struct log_consumer *consumer, size_t max, int64_t timeout_ms, struct log_batch *ret,
                         struct err *err);
void sqlog_consumer_wake(struct log_consumer *consumer);
void sqlog_consumer_notify(struct log_consumer *consumer, void (*notify)(void *user), void *user);
/* With mutex held: there is something for this consumer. */
void sqlog_consumer_signal(struct sqlog_consumer *consumer);

void sqlog_read_add(struct sqlog_consumer *consumer, struct sqlog_partition *partition);
void sqlog_read_remove(struct sqlog_consumer *consumer, struct sqlog_partition *partition);
void sqlog_read_stop(struct sqlog_consumer *consumer, struct sqlog_read *read);
/* Which commit this read goes on in. */
CHECK_RESULT bool sqlog_read_next(struct sqlog_consumer *consumer, struct sqlog_read *read, int64_t *ret_commit,
                                  struct err *err);
/* Takes up to `max` records of that commit into consumer->records; sees that it can be read even for 0. */
CHECK_RESULT bool sqlog_read_take(struct sqlog_consumer *consumer, struct sqlog_read *read, size_t max,
                                  struct err *err);
void sqlog_fetch_close(struct sqlog_consumer *consumer);

void sqlog_group_join(struct sqlog_consumer *consumer, struct str name);
/* Gives and takes partitions, calling the listener; true when it was called. */
bool sqlog_group_step(struct sqlog_consumer *consumer);
void sqlog_group_leave(struct sqlog_consumer *consumer);
void sqlog_groups_free(struct sqlog *log);

/* ---- sqlite_position.c ---- */

void sqlog_consumer_commit(struct log_consumer *consumer, const struct log_position *positions, size_t count);
/* Inside of the writer's transaction. */
CHECK_RESULT bool sqlog_positions_write(struct sqlog *log, struct err *err);
/* Once it has failed: they are still to be written. */
void sqlog_positions_retry(struct sqlog *log);
bool sqlog_group_positions(struct log *log, struct log_group_position **ret, size_t *ret_count, struct err *err);

/* ---- sqlite_wait.c ---- */

/* A moment of the monotonic clock; INT64_MAX for a time-out below 0 (none) or very far off. */
int64_t sqlog_deadline_us(int64_t timeout_ms);
/* False once until_us has come. */
bool sqlog_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t until_us);

#endif

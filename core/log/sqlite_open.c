/* Opening and closing the embedded log. */
#include "core/log/sqlite_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/base/thread.h"
#include "core/log/sqlite.h"

static void close_log(struct log *log);

static struct str id_of(const struct log *log) {
    return id_str(&((const struct sqlog *)log)->id);
}

static const struct log_ops ops = {
    .close = close_log,
    .id = id_of,
    .topics_create = sqlog_topics_create,
    .topic_find = sqlog_topic_info,
    .topics_list = sqlog_topics_list,
    .watermarks = sqlog_watermarks,
    .offset_at_time = sqlog_offset_at_time,
    .usage = sqlog_usage,
    .group_positions = sqlog_group_positions,
    .producer_open = sqlog_producer_open,
    .producer_close = sqlog_producer_close,
    .append = sqlog_append,
    .flush = sqlog_flush,
    .consumer_open = sqlog_consumer_open,
    .consumer_close = sqlog_consumer_close,
    .consumer_seek = sqlog_consumer_seek,
    .consumer_pause = sqlog_consumer_pause,
    .consumer_poll = sqlog_consumer_poll,
    .consumer_wake = sqlog_consumer_wake,
    .consumer_notify = sqlog_consumer_notify,
    .consumer_commit = sqlog_consumer_commit,
};

/* ---- one writing process ---- */

static bool lock_refused(const char *path, int fd, struct err *err) {
    if (errno != EWOULDBLOCK)
        return err_set(err, ERR_IO, "cannot lock %s: %s", path, strerror(errno));
    char pid[24] = "";
    ssize_t len = pread(fd, pid, sizeof pid - 1, 0);
    pid[len > 0 ? strcspn(pid, "\n") : 0] = '\0';
    return err_set(err, ERR_LOG_UNAVAILABLE, "another process writes this log (pid %s, by %s); only one may",
                   *pid ? pid : "unknown", path);
}

/* The kernel lets the lock go when the process ends, however it ends. The file stays. */
static bool lock_take(struct sqlog *log, struct err *err) {
    BUF_AUTO path = {0};
    buf_printf(&path, "%s.lock", log->path);
    int fd = open(path.ptr, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_set(err, ERR_IO, "cannot open %s: %s", path.ptr, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        lock_refused(path.ptr, fd, err);
        close(fd);
        return false;
    }
    char pid[24];
    int len = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)len, 0) != len) {
        err_set(err, ERR_LOG_UNAVAILABLE, "cannot write %s: %s", path.ptr, strerror(errno));
        close(fd);
        return false;
    }
    log->lock_fd = fd;
    return true;
}

/* ---- opening ---- */

static bool open_for_writing(struct sqlog *log, struct err *err) {
    return lock_take(log, err) && sqlog_db_open(log, true, &log->write_db, err) && sqlog_schema_prepare(log, err) &&
           sqlog_writer_prepare(log, err);
}

static bool start_writer(struct sqlog *log, struct err *err) {
    int rc = pthread_create(&log->writer, NULL, sqlog_writer_main, log);
    return rc == 0 || err_set(err, ERR_INTERNAL, "cannot start a thread: %s", strerror(rc));
}

static bool open_all(struct sqlog *log, struct err *err) {
    if (!log->read_only && !open_for_writing(log, err))
        return false;
    if (log->read_only && access(log->path, F_OK) != 0)
        return err_set(err, ERR_NOT_FOUND, "there is no log at %s", log->path);
    return sqlog_db_open(log, false, &log->read_db, err) && sqlog_schema_read(log, err) &&
           sqlog_load(log, log->read_only ? log->read_db : log->write_db, err) &&
           (log->read_only || start_writer(log, err));
}

static void free_log(struct sqlog *log) {
    sqlog_tail_clear(log);
    free(log->tail);
    sqlog_groups_free(log);
    sqlog_topics_free(log);
    sqlite3_finalize(log->begin);
    sqlite3_finalize(log->commit);
    sqlite3_finalize(log->insert);
    sqlite3_finalize(log->insert_index);
    sqlite3_finalize(log->set_indexed);
    sqlite3_finalize(log->insert_position);
    sqlite3_close_v2(log->read_db);
    sqlite3_close_v2(log->write_db);
    if (log->lock_fd >= 0)
        close(log->lock_fd);
    pthread_cond_destroy(&log->work);
    pthread_cond_destroy(&log->delivered);
    pthread_mutex_destroy(&log->mutex);
    pthread_mutex_destroy(&log->read_mutex);
    pthread_mutex_destroy(&log->write_mutex);
    free(log->path);
    free(log);
}

bool log_sqlite_open(const char *rest, const struct log_options *options, struct log **ret, struct err *err) {
    if (!*rest)
        return err_set(err, ERR_CONFIG, "sqlite:// needs a path: sqlite:///path/log.db");
    struct sqlog *log = mem_zalloc(sizeof *log);
    log->base.ops = &ops;
    log->path = mem_strdup(str_from(rest));
    log->read_only = options->read_only;
    log->lock_fd = -1;
    log->queue_end = &log->queue;
    atomic_init(&log->topics, mem_zalloc(sizeof(struct sqlog_topics)));
    pthread_mutex_init(&log->write_mutex, NULL);
    pthread_mutex_init(&log->read_mutex, NULL);
    pthread_mutex_init(&log->mutex, NULL);
    thread_cond_init(&log->work);
    thread_cond_init(&log->delivered);
    if (!open_all(log, err)) {
        free_log(log);
        return false;
    }
    *ret = &log->base;
    return true;
}

static void close_log(struct log *base) {
    struct sqlog *log = sqlog_of(base);
    if (!log->read_only) {
        pthread_mutex_lock(&log->mutex);
        log->closing = true;
        pthread_cond_signal(&log->work);
        pthread_mutex_unlock(&log->mutex);
        pthread_join(log->writer, NULL);
    }
    free_log(log);
}

void log_sqlite_limit_pages(struct log *base, int64_t pages) {
    struct sqlog *log = sqlog_of(base);
    BUF_AUTO sql = {0};
    buf_printf(&sql, "PRAGMA max_page_count=%lld", pages ? (long long)pages : 4294967294LL);
    pthread_mutex_lock(&log->write_mutex);
    sqlite3_exec(log->write_db, sql.ptr, NULL, NULL, NULL);
    pthread_mutex_unlock(&log->write_mutex);
}

#include "cli/bench.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"

/* ---- /proc ---- */

static bool read_file(const char *path, struct buf *ret) {
    FILE *file = fopen(path, "re");
    char piece[4096];
    size_t n;
    if (!file)
        return false;
    buf_reset(ret);
    while ((n = fread(piece, 1, sizeof piece, file)) > 0)
        buf_add(ret, piece, n);
    bool ok = !ferror(file);
    fclose(file);
    return ok;
}

static bool read_proc(int pid, const char *name, struct buf *ret) {
    char path[96];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return read_file(path, ret);
}

/* A process's own time to the nanosecond, also of threads that have ended. */
static int64_t own_cpu_us(int pid) {
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
        return 0; /* it ended while we looked: its parent has its time */
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

/* Of the children that it has waited for, and theirs: fields 16 and 17 of stat, in ticks. */
static int64_t waited_cpu_us(int pid) {
    BUF_AUTO text = {0};
    long long user, system;
    if (!read_proc(pid, "stat", &text) || !text.len)
        return 0;
    const char *behind_name = strrchr(text.ptr, ')');
    if (!behind_name ||
        sscanf(behind_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %lld %lld", &user, &system) != 2)
        return 0;
    return (user + system) * (1000000 / sysconf(_SC_CLK_TCK));
}

/* Calls `each` for every living child of every thread. */
static void for_each_child(int pid, void (*each)(int pid, void *user), void *user) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    BUF_AUTO text = {0};
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        snprintf(path, sizeof path, "task/%.20s/children", task->d_name);
        if (task->d_name[0] == '.' || !read_proc(pid, path, &text))
            continue;
        char *at = text.ptr, *end;
        for (long child; at && (child = strtol(at, &end, 10)) > 0; at = end)
            each((int)child, user);
    }
    if (tasks)
        closedir(tasks);
}

static void add_tree_cpu(int pid, void *total_us) {
    *(int64_t *)total_us += own_cpu_us(pid) + waited_cpu_us(pid);
    for_each_child(pid, add_tree_cpu, total_us);
}

static void add_tree_pss(int pid, void *total_kib) {
    BUF_AUTO text = {0};
    double *total = total_kib;
    const char *line = read_proc(pid, "smaps_rollup", &text) && text.len ? strstr(text.ptr, "\nPss:") : NULL;
    if (!line)
        *total = -INFINITY; /* somebody else's process; the rest alone would mislead */
    else
        *total += strtod(line + 5, NULL);
    for_each_child(pid, add_tree_pss, total_kib);
}

/* ---- the stack ---- */

/* What the process runs decides, so that several processes of ours are one group. */
static void name_group(struct bench_proc *proc, struct str file) {
    BUF_AUTO command = {0};
    bool ours = read_proc(proc->pid, "comm", &command) && str_eq(buf_str(&command), STR("orderlog\n")) &&
                !str_eq(file, STR("provider"));
    snprintf(proc->name, sizeof proc->name, "%.*s", ours ? 8 : (int)file.len, ours ? "orderlog" : file.ptr);
}

bool bench_procs_find(const char *run_dir, struct bench_procs *ret, struct err *err) {
    DIR *folder = opendir(run_dir);
    BUF_AUTO path = {0};
    BUF_AUTO text = {0};
    *ret = (struct bench_procs){0};
    if (!folder)
        return err_set(err, ERR_CONFIG, "--run-dir %s: %s", run_dir, strerror(errno));
    for (struct dirent *entry; (entry = readdir(folder)) && ret->count < BENCH_PROCS_MAX;) {
        struct str name = str_from(entry->d_name);
        if (!str_ends_with(name, STR(".pid")))
            continue;
        buf_reset(&path);
        buf_printf(&path, "%s/%s", run_dir, entry->d_name);
        struct bench_proc *proc = &ret->items[ret->count];
        *proc = (struct bench_proc){.pss_mib = -1};
        if (!read_file(path.ptr, &text) || !text.len || (proc->pid = (int)strtol(text.ptr, NULL, 10)) <= 1)
            continue;
        name_group(proc, (struct str){name.ptr, name.len - 4});
        ret->count++;
    }
    closedir(folder);
    return ret->count || err_set(err, ERR_CONFIG, "--run-dir %s: no pid file of a running stack is in it", run_dir);
}

bool bench_procs_cpu(struct bench_procs *procs, struct err *err) {
    for (size_t i = 0; i < procs->count; i++) {
        struct bench_proc *proc = &procs->items[i];
        proc->cpu_us = 0;
        add_tree_cpu(proc->pid, &proc->cpu_us);
        if (!proc->cpu_us)
            return err_set(err, ERR_IO, "%s, process %d, is not there any more", proc->name, proc->pid);
    }
    return true;
}

static void add_thread(int pid, const char *thread, struct map *times) {
    char path[64];
    BUF_AUTO name = {0};
    BUF_AUTO text = {0};
    long long ran_ns;
    snprintf(path, sizeof path, "task/%.20s/comm", thread);
    if (!read_proc(pid, path, &name) || name.len < 2)
        return;
    snprintf(path, sizeof path, "task/%.20s/schedstat", thread);
    if (!read_proc(pid, path, &text) || !text.len || sscanf(text.ptr, "%lld", &ran_ns) != 1)
        return; /* it ended while we looked */
    void **slot = map_put(times, (struct str){name.ptr, name.len - 1});
    *slot = (void *)((intptr_t)*slot + (intptr_t)(ran_ns / 1000));
}

void bench_threads_cpu(const struct bench_procs *procs, struct map *ret) {
    for (size_t i = 0; i < procs->count; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/task", procs->items[i].pid);
        DIR *tasks = strcmp(procs->items[i].name, "orderlog") == 0 ? opendir(path) : NULL;
        for (struct dirent *task; tasks && (task = readdir(tasks));)
            if (task->d_name[0] != '.')
                add_thread(procs->items[i].pid, task->d_name, ret);
        if (tasks)
            closedir(tasks);
    }
}

void bench_procs_pss(struct bench_procs *procs) {
    for (size_t i = 0; i < procs->count; i++) {
        double kib = 0;
        add_tree_pss(procs->items[i].pid, &kib);
        procs->items[i].pss_mib = kib < 0 ? -1 : kib / 1024;
    }
}

bool bench_proc_setting(int pid, const char *name, struct buf *ret) {
    BUF_AUTO text = {0};
    if (!read_proc(pid, "environ", &text))
        return false;
    size_t len = strlen(name);
    for (size_t at = 0; at < text.len; at += strlen(text.ptr + at) + 1)
        if (strncmp(text.ptr + at, name, len) == 0 && text.ptr[at + len] == '=') {
            buf_reset(ret);
            buf_printf(ret, "%s", text.ptr + at + len + 1);
            return true;
        }
    return false;
}

int64_t bench_own_cpu_us(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

bool bench_machine_read(struct bench_machine *ret, struct err *err) {
    BUF_AUTO text = {0};
    long long user, nice, system, idle, waiting, hard, soft, stolen;
    int64_t tick_us = 1000000 / sysconf(_SC_CLK_TCK);
    if (!read_file("/proc/stat", &text) || !text.len ||
        sscanf(text.ptr, "cpu %lld %lld %lld %lld %lld %lld %lld %lld", &user, &nice, &system, &idle, &waiting, &hard,
               &soft, &stolen) != 8)
        return err_set(err, ERR_IO, "/proc/stat cannot be read");
    ret->busy_us = (user + nice + system + hard + soft) * tick_us;
    ret->stolen_us = stolen * tick_us;
    ret->total_us = ret->busy_us + ret->stolen_us + (idle + waiting) * tick_us;
    return true;
}

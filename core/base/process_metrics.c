#include "core/base/process_metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/metrics.h"

/* Fields of /proc/self/stat, counted from the one after the program's name (proc(5): 3 is the first of them). */
enum { STAT_UTIME = 14 - 3, STAT_STIME = 15 - 3, STAT_START = 22 - 3, STAT_VSIZE = 23 - 3, STAT_RSS = 24 - 3 };
enum { STAT_FIELDS = STAT_RSS + 1, FILE_MAX = 4096 };

static struct {
    struct metric *cpu, *resident, *virtual, *open_fds, *max_fds, *start;
    double boot_time; /* seconds since the epoch; NaN: not known */
} process;

static bool read_small_file(const char *path, char *ret, size_t size) {
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    size_t len = fread(ret, 1, size - 1, file);
    ret[len] = '\0';
    fclose(file);
    return len > 0;
}

static double boot_time_read(void) {
    char line[256];
    double seconds = (double)NAN;
    FILE *file = fopen("/proc/stat", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "btime %lf", &seconds) == 1)
            break;
    if (file)
        fclose(file);
    return seconds;
}

static bool stat_read(uint64_t ret[STAT_FIELDS]) {
    char text[FILE_MAX];
    if (!read_small_file("/proc/self/stat", text, sizeof text))
        return false;
    const char *at = strrchr(text, ')'); /* the name may hold anything, brackets too */
    if (!at || at[1] != ' ' || !at[2] || at[3] != ' ')
        return false;
    at += 3; /* the state is a letter */
    ret[0] = 0;
    for (int i = 1; i < STAT_FIELDS; i++) {
        char *end;
        ret[i] = (uint64_t)strtoll(at, &end, 10);
        if (end == at)
            return false;
        at = end;
    }
    return true;
}

static void set_or_unset(struct metric *metric, bool known, double value) {
    if (known && !isnan(value))
        metrics_set(metric, value);
    else
        metrics_unset(metric);
}

static void collect_stat(void) {
    uint64_t stat[STAT_FIELDS] = {0};
    bool known = stat_read(stat);
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    set_or_unset(process.cpu, known, (double)(stat[STAT_UTIME] + stat[STAT_STIME]) * tick);
    set_or_unset(process.virtual, known, (double)stat[STAT_VSIZE]);
    set_or_unset(process.resident, known, (double)stat[STAT_RSS] * (double)sysconf(_SC_PAGESIZE));
    set_or_unset(process.start, known, process.boot_time + (double)stat[STAT_START] * tick);
}

static void collect_fds(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    for (const struct dirent *entry; folder && (entry = readdir(folder));)
        count += entry->d_name[0] != '.';
    set_or_unset(process.open_fds, folder != NULL, count - 1); /* one is the folder itself */
    if (folder)
        closedir(folder);
    struct rlimit limit;
    bool limited = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    set_or_unset(process.max_fds, limited, limited ? (double)limit.rlim_cur : 0);
}

static void collect(void *user) {
    (void)user;
    collect_stat();
    collect_fds();
}

void process_metrics_start(void) {
    process.cpu = metrics_total("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", "");
    process.resident = metrics_gauge("process_resident_memory_bytes", "Resident memory size in bytes.", "");
    process.virtual = metrics_gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", "");
    process.open_fds = metrics_gauge("process_open_fds", "Number of open file descriptors.", "");
    process.max_fds = metrics_gauge("process_max_fds", "Maximum number of open file descriptors.", "");
    process.start =
        metrics_gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", "");
    process.boot_time = boot_time_read();
    metrics_set(metrics_gauge("orderlog_build_info", "1; which version this is.", "version=\"" ORDERLOG_VERSION "\""),
                1);
    metrics_collector_add(collect, NULL);
}

#include "core/base/metrics.h"

#include "core/base/clock.h"
#include "core/base/process_metrics.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static size_t count_of(const char *needle) {
    BUF_AUTO text = {0};
    metrics_write(&text);
    size_t count = 0;
    for (const char *at = text.ptr; (at = strstr(at, needle)); at += strlen(needle))
        count++;
    return count;
}

static void assert_line(const char *line) {
    BUF_AUTO text = {0};
    BUF_AUTO whole = {0};
    buf_add_char(&text, '\n');
    metrics_write(&text);
    buf_printf(&whole, "\n%s\n", line);
    if (!strstr(text.ptr, whole.ptr))
        fail_msg("no line %s in %s", line, text.ptr);
}

static void counts(void **state) {
    (void)state;
    struct metric *plain = metrics_counter("t_plain_total", "Plain.", "");
    struct metric *orders = metrics_counter("t_events_total", "Events.", "service=\"orders\"");
    struct metric *carts = metrics_counter("t_events_total", "Events.", "service=\"carts\"");
    assert_ptr_equal(metrics_counter("t_events_total", "Events.", "service=\"orders\""), orders);
    metrics_add(orders, 2);
    metrics_add(orders, 40);
    metrics_add(carts, 1);
    assert_line("t_plain_total 0");
    assert_line("t_events_total{service=\"orders\"} 42");
    assert_line("t_events_total{service=\"carts\"} 1");
    assert_int_equal(count_of("# HELP t_events_total Events.\n"), 1);
    assert_int_equal(count_of("# TYPE t_events_total counter\n"), 1);
    metrics_add(plain, INT64_C(9007199254740993)); /* more than a double holds */
    assert_line("t_plain_total 9007199254740993");
}

static void labels_and_names_are_copied(void **state) {
    (void)state;
    char name[] = "t_copied_total", help[] = "Help.", labels[] = "a=\"b\"";
    struct metric *metric = metrics_counter(name, help, labels);
    name[0] = help[0] = labels[0] = 'X';
    assert_line("t_copied_total{a=\"b\"} 0");
    assert_ptr_equal(metrics_counter("t_copied_total", "Help.", "a=\"b\""), metric);
}

static void gauges(void **state) {
    (void)state;
    struct metric *gauge = metrics_gauge("t_lag_records", "A \\ and\na line break.", "");
    assert_line("t_lag_records 0");
    assert_line("# HELP t_lag_records A \\\\ and\\na line break.");
    metrics_set(gauge, 12);
    metrics_add(gauge, -20);
    assert_line("t_lag_records -8");
    static const struct {
        double value;
        const char *line;
    } cases[] = {{0.1, "t_lag_records 0.1"},
                 {1.0 / 3, "t_lag_records 0.33333333333333331"},
                 {1e300, "t_lag_records 1e+300"},
                 {(double)INFINITY, "t_lag_records +Inf"},
                 {-(double)INFINITY, "t_lag_records -Inf"},
                 {(double)NAN, "t_lag_records NaN"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        metrics_set(gauge, cases[i].value);
        assert_line(cases[i].line);
    }
}

static void histograms(void **state) {
    (void)state;
    struct metric *plain = metrics_histogram("t_wait_seconds", "Wait.", "");
    static const double seen[] = {0, 0.0005, 0.00050001, 0.3, 10, 11};
    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++)
        metrics_observe(plain, seen[i]);
    assert_line("# TYPE t_wait_seconds histogram");
    assert_line("t_wait_seconds_bucket{le=\"0.0005\"} 2"); /* bounds are inclusive */
    assert_line("t_wait_seconds_bucket{le=\"0.001\"} 3");
    assert_line("t_wait_seconds_bucket{le=\"0.25\"} 3");
    assert_line("t_wait_seconds_bucket{le=\"0.5\"} 4");
    assert_line("t_wait_seconds_bucket{le=\"10\"} 5");
    assert_line("t_wait_seconds_bucket{le=\"+Inf\"} 6");
    assert_line("t_wait_seconds_sum 21.30100001");
    assert_line("t_wait_seconds_count 6");
    struct metric *labelled = metrics_histogram("t_call_seconds", "Call.", "to=\"pay\"");
    metrics_observe(labelled, 0.002);
    assert_line("t_call_seconds_bucket{to=\"pay\",le=\"0.001\"} 0");
    assert_line("t_call_seconds_bucket{to=\"pay\",le=\"0.0025\"} 1");
    assert_line("t_call_seconds_sum{to=\"pay\"} 0.002");
    assert_line("t_call_seconds_count{to=\"pay\"} 1");
}

static void a_senseless_time_does_not_spoil_the_sum(void **state) {
    (void)state;
    struct metric *metric = metrics_histogram("t_odd_seconds", "Odd.", "");
    metrics_observe(metric, -5);
    metrics_observe(metric, (double)NAN);
    metrics_observe(metric, -(double)INFINITY);
    assert_line("t_odd_seconds_sum 0");
    assert_line("t_odd_seconds_count 3");
    metrics_observe(metric, (double)INFINITY);
    assert_line("t_odd_seconds_sum 1000000");
    assert_line("t_odd_seconds_bucket{le=\"10\"} 3");
}

static void stages_reach_further(void **state) {
    (void)state;
    struct metric *stage = metrics_stage("toys");
    assert_ptr_equal(metrics_stage("toys"), stage);
    metrics_observe(stage, 0.0004);
    metrics_observe(stage, 59);
    metrics_observe(stage, 301);
    assert_line("orderlog_stage_seconds_bucket{service=\"toys\",le=\"0.001\"} 1");
    assert_line("orderlog_stage_seconds_bucket{service=\"toys\",le=\"30\"} 1");
    assert_line("orderlog_stage_seconds_bucket{service=\"toys\",le=\"60\"} 2");
    assert_line("orderlog_stage_seconds_bucket{service=\"toys\",le=\"300\"} 2");
    assert_line("orderlog_stage_seconds_bucket{service=\"toys\",le=\"+Inf\"} 3");
}

static void what_is_not_known_is_not_written(void **state) {
    (void)state;
    struct metric *one = metrics_gauge("t_seen", "Seen.", "of=\"one\"");
    struct metric *two = metrics_gauge("t_seen", "Seen.", "of=\"two\"");
    metrics_set(one, 1);
    metrics_unset(two);
    assert_int_equal(count_of("# TYPE t_seen gauge\n"), 1);
    assert_int_equal(count_of("t_seen{of=\"two\"}"), 0);
    metrics_unset(one);
    assert_int_equal(count_of("t_seen"), 0); /* not even its name */
    metrics_set(two, 2);
    assert_line("t_seen{of=\"two\"} 2");
    assert_int_equal(count_of("t_seen{of=\"one\"}"), 0);
}

static void collect_one(void *user) {
    metrics_set(metrics_total("t_cpu_seconds_total", "Cpu.", ""), ++*(double *)user / 4);
}

static void collectors_are_asked_before_each_writing(void **state) {
    (void)state;
    double times = 0;
    metrics_collector_add(collect_one, &times);
    assert_line("t_cpu_seconds_total 0.25");
    assert_line("t_cpu_seconds_total 0.5");
    assert_int_equal(count_of("# TYPE t_cpu_seconds_total counter\n"), 1);
    metrics_collector_remove(collect_one, &times);
    metrics_collector_remove(collect_one, &times);
    assert_line("t_cpu_seconds_total 0.75");
}

static double read_metric(const char *name) {
    BUF_AUTO text = {0};
    BUF_AUTO start = {0};
    buf_add_char(&text, '\n');
    metrics_write(&text);
    buf_printf(&start, "\n%s ", name);
    const char *at = strstr(text.ptr, start.ptr);
    if (!at)
        fail_msg("no %s in %s", name, text.ptr);
    return strtod(at + start.len, NULL);
}

static void the_process_is_measured(void **state) {
    (void)state;
    process_metrics_start();
    double fds = read_metric("process_open_fds"), cpu = read_metric("process_cpu_seconds_total");
    int fd = dup(STDERR_FILENO);
    assert_true(read_metric("process_open_fds") == fds + 1);
    close(fd);
    while (read_metric("process_cpu_seconds_total") == cpu) /* until it has used a tick more */
        ;
    assert_in_range((int64_t)read_metric("process_resident_memory_bytes"), 1 << 20, INT64_C(1) << 33);
    assert_true(read_metric("process_virtual_memory_bytes") > read_metric("process_resident_memory_bytes"));
    assert_true(read_metric("process_max_fds") >= fds);
    double now = (double)clock_now_us() / 1e6, start = read_metric("process_start_time_seconds");
    assert_true(start < now + 2 && start > now - 600);
    assert_line("orderlog_build_info{version=\"" ORDERLOG_VERSION "\"} 1");
}

static void one_name_has_one_type(void **state) {
    (void)state;
    metrics_counter("t_typed_total", "Typed.", "");
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(STDERR_FILENO);
        metrics_gauge("t_typed_total", "Typed.", "");
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_not_equal(status, 0);
}

enum { THREADS = 4, UPDATES = 50000 };

static void *update(void *arg) {
    (void)arg;
    for (int i = 0; i < UPDATES; i++) {
        struct metric *counter = metrics_counter("t_race_total", "Race.", i % 2 ? "a=\"1\"" : "a=\"0\"");
        metrics_add(counter, 1);
        metrics_add(metrics_gauge("t_race", "Race.", ""), i % 2 ? 2 : -1);
        metrics_observe(metrics_histogram("t_race_seconds", "Race.", ""), 0.001 * (i % 4));
    }
    return NULL;
}

static void threads_lose_no_update(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, update, NULL), 0);
    for (int i = 0; i < 50; i++)
        assert_in_range(count_of("# TYPE t_race_total counter"), 0, 1);
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    assert_line("t_race_total{a=\"0\"} 100000");
    assert_line("t_race_total{a=\"1\"} 100000");
    assert_line("t_race 100000");
    assert_line("t_race_seconds_count 200000");
    assert_line("t_race_seconds_bucket{le=\"0.001\"} 100000");
    assert_line("t_race_seconds_sum 300");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(labels_and_names_are_copied),
        cmocka_unit_test(gauges),
        cmocka_unit_test(histograms),
        cmocka_unit_test(a_senseless_time_does_not_spoil_the_sum),
        cmocka_unit_test(stages_reach_further),
        cmocka_unit_test(what_is_not_known_is_not_written),
        cmocka_unit_test(collectors_are_asked_before_each_writing),
        cmocka_unit_test(the_process_is_measured),
        cmocka_unit_test(one_name_has_one_type),
        cmocka_unit_test(threads_lose_no_update),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}

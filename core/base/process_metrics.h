/* The standard metrics of a process (process_cpu_seconds_total and the like) and orderlog_build_info. */
#ifndef ORDERLOG_BASE_PROCESS_METRICS_H
#define ORDERLOG_BASE_PROCESS_METRICS_H

/* Once a process. From then on each metrics_write reads /proc/self anew. What cannot be read there is left out. */
void process_metrics_start(void);

#endif

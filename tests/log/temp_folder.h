/* A folder of its own for each test, below TMPDIR or the current directory; removed with what is in it. */
#ifndef ORDERLOG_TESTS_LOG_TEMP_FOLDER_H
#define ORDERLOG_TESTS_LOG_TEMP_FOLDER_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/str.h"

struct temp_folder {
    char path[4096];
};

static inline bool temp_folder_make(struct temp_folder *folder) {
    const char *parent = getenv("TMPDIR");
    snprintf(folder->path, sizeof folder->path, "%s/log-test-XXXXXX", parent ? parent : ".");
    return mkdtemp(folder->path) != NULL;
}

/* Files only, no folders inside. */
static inline void temp_folder_remove(const struct temp_folder *folder) {
    DIR *dir = opendir(folder->path);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
    rmdir(folder->path);
}

#endif

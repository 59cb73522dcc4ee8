#include "cli/export.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1024 * 1024 };

struct export_file {
    char *path;
    char *part; /* where it is until it is published; NULL: written to as it is, or published */
    bool force;
    int fd;
    struct buf waiting;
    int64_t bytes;
};

static bool fail(struct err *err, const char *what, const char *path) {
    return err_set(err, ERR_IO, "cannot %s %s: %s", what, path, strerrordesc_np(errno));
}

static bool already_there(struct err *err, const char *path) {
    return err_set(err, ERR_USAGE, "%s is there already: --force replaces it", path);
}

static char *part_of(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    struct buf part = {0};
    buf_add(&part, path, (size_t)(name - path));
    buf_printf(&part, ".%s.%ld.part", name, (long)getpid());
    return part.ptr;
}

/* A device or a pipe: it is written to, never replaced. */
static bool is_special(const char *path) {
    struct stat found;
    return stat(path, &found) == 0 && !S_ISREG(found.st_mode);
}

static int open_at(const char *path, const char *part) {
    return part ? open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : open(path, O_WRONLY | O_CLOEXEC);
}

bool export_file_open(const char *path, bool force, struct export_file **ret, struct err *err) {
    bool is_stdout = strcmp(path, "-") == 0, special = !is_stdout && is_special(path);
    if (!is_stdout && !special && !force && access(path, F_OK) == 0)
        return already_there(err, path);
    char *part = is_stdout || special ? NULL : part_of(path);
    int fd = is_stdout ? STDOUT_FILENO : open_at(path, part);
    if (fd < 0) {
        fail(err, "write", path);
        free(part);
        return false;
    }
    struct export_file *file = mem_zalloc(sizeof *file);
    *file = (struct export_file){
        .path = mem_strdup(str_from(is_stdout ? "standard output" : path)), .part = part, .force = force, .fd = fd};
    *ret = file;
    return true;
}

static bool flush(struct export_file *file, struct err *err) {
    struct str rest = buf_str(&file->waiting);
    while (rest.len) {
        ssize_t written = write(file->fd, rest.ptr, rest.len);
        if (written < 0)
            return fail(err, "write", file->path);
        rest = (struct str){rest.ptr + written, rest.len - (size_t)written};
    }
    buf_reset(&file->waiting);
    return true;
}

bool export_file_write(struct export_file *file, struct str bytes, struct err *err) {
    buf_add_str(&file->waiting, bytes);
    file->bytes += (int64_t)bytes.len;
    return file->waiting.len < BUFFER_BYTES || flush(file, err);
}

bool export_file_sync(struct export_file *file, struct err *err) {
    if (!flush(file, err))
        return false;
    return !file->part || fsync(file->fd) == 0 || fail(err, "write", file->path);
}

/* Also where a file of that name came to be since it was opened. File systems that know no such rename look again. */
static bool rename_new(const char *from, const char *to, struct err *err) {
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return true;
    if (errno == EEXIST || access(to, F_OK) == 0)
        return already_there(err, to);
    return rename(from, to) == 0 || fail(err, "write", to);
}

/* The name is on the disk when its folder is. */
static bool sync_folder(const char *path, struct err *err) {
    const char *slash = strrchr(path, '/');
    char *folder = mem_strdup(slash ? (struct str){path, (size_t)(slash - path) + 1} : STR("."));
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Some file systems have no such thing (EINVAL); then nothing more can be done. */
    bool ok = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
    if (!ok)
        fail(err, "write", folder);
    if (fd >= 0)
        close(fd);
    free(folder);
    return ok;
}

bool export_file_publish(struct export_file *file, struct err *err) {
    if (!file->part)
        return true;
    if (file->force ? rename(file->part, file->path) != 0 && !fail(err, "write", file->path)
                    : !rename_new(file->part, file->path, err))
        return false;
    free(file->part);
    file->part = NULL;
    return sync_folder(file->path, err);
}

int64_t export_file_bytes(const struct export_file *file) {
    return file->bytes;
}

void export_file_close(struct export_file *file) {
    if (!file)
        return;
    if (file->part)
        unlink(file->part);
    if (file->fd > STDERR_FILENO)
        close(file->fd);
    free(file->path);
    free(file->part);
    buf_free(&file->waiting);
    free(file);
}

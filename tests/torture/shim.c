/*
 * Stands between programs and the C library (LD_PRELOAD) and counts every call that changes a file
 * below one folder, over all processes and threads of a command. At the chosen call it kills the
 * process group, or makes the call fail, or notes what each call did.
 *
 * What is shared lies in one mapped file, named by TORTURE_CONTROL or given to torture_arm(); its
 * layout is in shim.py. A write is two points: before it, and with half of its bytes written.
 */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utime.h>
#include <linux/fs.h>

enum { COUNT, KILL, FAULT, TRACE };
/* What a call needs: those that take space fail on a full disk, all fail on a broken one. */
enum { TAKES_SPACE = 1, ANY = 2 };

struct control {
    uint64_t counter, target, capacity, used;
    uint32_t mode, error, always, fired, lock, unused;
    char what[448];
    char root[1024];
    unsigned char records[];
};

static struct control *control;
static size_t root_length;

void torture_arm(const char *path) {
    if (!path || !*path) {
        control = NULL;
        return;
    }
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        dprintf(2, "torture: cannot open %s\n", path);
        _exit(97);
    }
    struct control *mapped = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (mapped == MAP_FAILED) _exit(97);
    root_length = strlen(mapped->root);
    control = mapped;
}

__attribute__((constructor)) static void begin(void) { torture_arm(getenv("TORTURE_CONTROL")); }

/* -- which file is meant ----------------------------------------------------------------------- */

static int below(const char *path) {
    return !strncmp(path, control->root, root_length) &&
           (path[root_length] == '/' || !path[root_length]);
}

static int link_of(const char *link, char *out) {
    ssize_t count = syscall(SYS_readlink, link, out, PATH_MAX - 1);
    if (count < 0) return 0;
    out[count] = 0;
    return 1;
}

static int path_of_fd(int fd, char *out) {
    char link[64];
    if (!control) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return link_of(link, out) && below(out);
}

static int full_path(int folder, const char *path, char *out) {
    if (!control || !path) return 0;
    if (path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
        return below(out);
    }
    char link[64];
    snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
    if (!link_of(link, out)) return 0;
    size_t length = strlen(out);
    snprintf(out + length, PATH_MAX - length, "/%s", path);
    return below(out);
}

/* -- what happens at a point ------------------------------------------------------------------- */

static void tell(const char *call, const char *path) {
    if (__atomic_exchange_n(&control->fired, 1, __ATOMIC_SEQ_CST)) return;
    const char *shown = strlen(path) > root_length ? path + root_length + 1 : path;
    snprintf(control->what, sizeof control->what, "%s %.400s", call, shown);
}

static void die(void) {
    syscall(SYS_kill, 0, SIGKILL);
    for (;;) syscall(SYS_pause);
}

/* 0: go on. -1: fail, errno is set. 1 (writes only): do half of it. */
static int point(const char *call, const char *path, int kind, int halves) {
    if (control->mode == TRACE) return 0;
    if (control->mode == FAULT && control->error == ENOSPC && !(kind & TAKES_SPACE)) return 0;
    uint64_t number = __atomic_fetch_add(&control->counter, halves ? 2 : 1, __ATOMIC_SEQ_CST);
    if (control->mode == COUNT) return 0;
    int half = halves && number + 1 == control->target;
    if (number == control->target || half) {
        tell(call, path);
        if (half) return 1;
        if (control->mode == KILL) die();
        errno = control->error;
        return -1;
    }
    if (control->mode == FAULT && number > control->target && control->always) {
        errno = control->error;
        return -1;
    }
    return 0;
}

/* -- notes of what was done -------------------------------------------------------------------- */

struct record {
    uint32_t length, op;
    uint64_t inode;
    int64_t offset;
    uint32_t path, other, data, unused;
};

static void lock(void) {
    while (__atomic_exchange_n(&control->lock, 1, __ATOMIC_ACQUIRE)) sched_yield();
}

static void unlock(void) { __atomic_store_n(&control->lock, 0, __ATOMIC_RELEASE); }

static void note(char op, uint64_t inode, int64_t offset, const char *path, const char *other,
                 const void *data, size_t count) {
    struct record head = {0};
    head.op = op;
    head.inode = inode;
    head.offset = offset;
    head.path = path ? strlen(path) : 0;
    head.other = other ? strlen(other) : 0;
    head.data = count;
    size_t length = sizeof head + head.path + head.other + count;
    head.length = (length + 7) & ~7ul;
    if (control->used + head.length > control->capacity) {
        dprintf(2, "torture: the trace is full\n");
        die();
    }
    unsigned char *at = control->records + control->used;
    memcpy(at, &head, sizeof head);
    at += sizeof head;
    if (path) memcpy(at, path, head.path);
    at += head.path;
    if (other) memcpy(at, other, head.other);
    at += head.other;
    if (count) memcpy(at, data, count);
    control->used += head.length;
}

static int tracing(void) { return control->mode == TRACE; }

static uint64_t inode_of(int fd) {
    struct stat st;
    return fstat(fd, &st) ? 0 : st.st_ino;
}

static void note_bytes(int fd, int64_t offset, const void *data, size_t count) {
    char path[PATH_MAX];
    if (!path_of_fd(fd, path)) path[0] = 0;
    note('w', inode_of(fd), offset, path, NULL, data, count);
}

/* Bytes that the kernel copied: read from where they came. */
static void note_copied(int to, int64_t offset, int from, int64_t begin, size_t count) {
    char *buffer = malloc(count ? count : 1);
    ssize_t got = pread(from, buffer, count, begin);
    if (got > 0) note_bytes(to, offset, buffer, got);
    free(buffer);
}

static int64_t write_offset(int fd) {
    struct stat st;
    if (fcntl(fd, F_GETFL) & O_APPEND) return fstat(fd, &st) ? 0 : st.st_size;
    return lseek(fd, 0, SEEK_CUR);
}

#define REAL(type, name, ...)                                                                      \
    static type (*real)(__VA_ARGS__);                                                              \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

/* A call on one path or descriptor: a point, then the call; noted with `op` where it succeeds. */
#define GUARDED(condition, call, kind, path, run, noted)                                           \
    do {                                                                                           \
        char path[PATH_MAX];                                                                       \
        if (!(condition)) return run;                                                              \
        if (tracing()) {                                                                           \
            lock();                                                                                \
            typeof(run) result = run;                                                              \
            int saved = errno;                                                                     \
            if (result >= 0) noted;                                                                \
            unlock();                                                                              \
            errno = saved;                                                                         \
            return result;                                                                         \
        }                                                                                          \
        if (point(call, path, kind, 0)) return -1;                                                 \
        return run;                                                                                \
    } while (0)

/* -- opening ----------------------------------------------------------------------------------- */

#define CHANGES(flags) ((flags) & (O_CREAT | O_TRUNC) || ((flags) & O_TMPFILE) == O_TMPFILE)

static int raw_open(int folder, const char *path, int flags, mode_t mode) {
    return syscall(SYS_openat, folder, path, flags, mode);
}

static int open_traced(int folder, const char *path, const char *full, int flags, mode_t mode) {
    struct stat before, after;
    lock();
    int existed = !fstatat(folder, path, &before, 0);
    int fd = raw_open(folder, path, flags, mode);
    int saved = errno;
    if (fd >= 0 && !fstat(fd, &after) && S_ISREG(after.st_mode)) {
        if (!existed) note('c', after.st_ino, 0, full, NULL, NULL, 0);
        else if (flags & O_TRUNC) note('t', after.st_ino, 0, full, NULL, NULL, 0);
    }
    unlock();
    errno = saved;
    return fd;
}

static int open_any(int folder, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    if (!CHANGES(flags) || !full_path(folder, path, full))
        return raw_open(folder, path, flags, mode);
    if (tracing()) return open_traced(folder, path, full, flags, mode);
    struct stat st;
    int fresh = fstatat(folder, path, &st, 0) != 0;
    /* opening a lock file that is there changes nothing */
    if ((fresh || flags & O_TRUNC || flags & O_EXCL) && point("open", full, TAKES_SPACE | ANY, 0))
        return -1;
    return raw_open(folder, path, flags, mode);
}

#define MODE_ARGUMENT                                                                              \
    mode_t mode = 0;                                                                               \
    if (CHANGES(flags)) {                                                                          \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    }

int open(const char *path, int flags, ...) { MODE_ARGUMENT return open_any(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_ARGUMENT return open_any(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE_ARGUMENT return open_any(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE_ARGUMENT return open_any(folder, path, flags, mode); }
int __open_2(const char *path, int flags) { return open_any(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_any(AT_FDCWD, path, flags, 0); }
int __openat_2(int folder, const char *path, int flags) { return open_any(folder, path, flags, 0); }
int __openat64_2(int folder, const char *path, int flags) { return open_any(folder, path, flags, 0); }
int creat(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

/* The C library writes such a stream by itself: its opening is the one point of it. */
static FILE *fopen_any(const char *name, const char *path, const char *mode) {
    FILE *(*real)(const char *, const char *) = dlsym(RTLD_NEXT, name);
    char full[PATH_MAX];
    if (mode[0] != 'r' && full_path(AT_FDCWD, path, full) && !tracing() &&
        point("fopen", full, TAKES_SPACE | ANY, 0))
        return NULL;
    return real(path, mode);
}
FILE *fopen(const char *path, const char *mode) { return fopen_any("fopen", path, mode); }
FILE *fopen64(const char *path, const char *mode) { return fopen_any("fopen64", path, mode); }

/* -- writing ----------------------------------------------------------------------------------- */

static ssize_t write_part(int fd, const void *data, size_t count, off_t offset) {
    return offset < 0 ? syscall(SYS_write, fd, data, count)
                      : syscall(SYS_pwrite64, fd, data, count, offset);
}

/* Half of it, in whole blocks for direct writing; then the end, or a short count. */
static ssize_t write_half(int fd, const void *data, size_t count, off_t offset) {
    size_t half = count / 2;
    if (half >= 4096) half -= half % 4096;
    ssize_t done = half ? write_part(fd, data, half, offset) : 0;
    if (control->mode == KILL) die();
    if (done > 0) {
        /* the rest is refused, as by a disk that has just become full */
        __atomic_store_n(&control->target, control->counter, __ATOMIC_SEQ_CST);
        return done;
    }
    errno = control->error;
    return -1;
}

static ssize_t write_any(const char *call, int fd, const void *data, size_t count, off_t offset) {
    char path[PATH_MAX];
    if (!path_of_fd(fd, path)) return write_part(fd, data, count, offset);
    if (tracing()) {
        lock();
        int64_t at = offset < 0 ? write_offset(fd) : offset;
        ssize_t done = write_part(fd, data, count, offset);
        int saved = errno;
        if (done > 0) note_bytes(fd, at, data, done);
        unlock();
        errno = saved;
        return done;
    }
    int what = point(call, path, TAKES_SPACE | ANY, 1);
    if (what < 0) return -1;
    return what ? write_half(fd, data, count, offset) : write_part(fd, data, count, offset);
}

ssize_t write(int fd, const void *data, size_t count) { return write_any("write", fd, data, count, -1); }
ssize_t pwrite(int fd, const void *data, size_t count, off_t at) { return write_any("pwrite", fd, data, count, at); }
ssize_t pwrite64(int fd, const void *data, size_t count, off_t at) { return write_any("pwrite", fd, data, count, at); }

static ssize_t writev_any(int fd, const struct iovec *parts, int count, off_t offset) {
    char path[PATH_MAX];
    if (!path_of_fd(fd, path))
        return offset < 0 ? syscall(SYS_writev, fd, parts, count)
                          : syscall(SYS_pwritev, fd, parts, count, (long)offset, 0);
    size_t total = 0;
    for (int i = 0; i < count; i++) total += parts[i].iov_len;
    char *joined = malloc(total ? total : 1), *to = joined;
    for (int i = 0; i < count; i++) to = mempcpy(to, parts[i].iov_base, parts[i].iov_len);
    ssize_t done = write_any("writev", fd, joined, total, offset);
    int saved = errno;
    free(joined);
    errno = saved;
    return done;
}
ssize_t writev(int fd, const struct iovec *parts, int count) { return writev_any(fd, parts, count, -1); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return writev_any(fd, parts, count, at); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at) { return writev_any(fd, parts, count, at); }
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) { (void)flags; return writev_any(fd, parts, count, at); }
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off_t at, int flags) { (void)flags; return writev_any(fd, parts, count, at); }

static ssize_t copy_any(const char *call, int to, off_t *to_at, int from, off_t *from_at,
                        size_t count, ssize_t (*run)(int, off_t *, int, off_t *, size_t)) {
    char path[PATH_MAX];
    if (!path_of_fd(to, path)) return run(to, to_at, from, from_at, count);
    if (tracing()) {
        lock();
        int64_t begin = from_at ? *from_at : lseek(from, 0, SEEK_CUR);
        int64_t at = to_at ? *to_at : write_offset(to);
        ssize_t done = run(to, to_at, from, from_at, count);
        int saved = errno;
        if (done > 0) note_copied(to, at, from, begin, done);
        unlock();
        errno = saved;
        return done;
    }
    int what = point(call, path, TAKES_SPACE | ANY, 1);
    if (what < 0) return -1;
    if (!what) return run(to, to_at, from, from_at, count);
    struct stat st;
    size_t whole = fstat(from, &st) || count < (size_t)st.st_size ? count : (size_t)st.st_size;
    ssize_t done = run(to, to_at, from, from_at, whole / 2);
    if (control->mode == KILL) die();
    __atomic_store_n(&control->target, control->counter, __ATOMIC_SEQ_CST);
    if (done > 0) return done;
    errno = control->error;
    return -1;
}
static ssize_t run_copy(int to, off_t *to_at, int from, off_t *from_at, size_t count) {
    return syscall(SYS_copy_file_range, from, from_at, to, to_at, count, 0);
}
static ssize_t run_send(int to, off_t *to_at, int from, off_t *from_at, size_t count) {
    (void)to_at;
    return syscall(SYS_sendfile, to, from, from_at, count);
}
ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t count, unsigned flags) {
    (void)flags;
    return copy_any("copy_file_range", to, to_at, from, from_at, count, run_copy);
}
ssize_t sendfile(int to, int from, off_t *from_at, size_t count) { return copy_any("sendfile", to, NULL, from, from_at, count, run_send); }
ssize_t sendfile64(int to, int from, off64_t *from_at, size_t count) { return copy_any("sendfile", to, NULL, from, from_at, count, run_send); }

int ioctl(int fd, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    char path[PATH_MAX];
    if (request != FICLONE || !path_of_fd(fd, path)) return syscall(SYS_ioctl, fd, request, argument);
    struct stat st;
    int from = (int)(intptr_t)argument;
    if (!tracing() && point("ficlone", path, TAKES_SPACE | ANY, 0)) return -1;
    int done = syscall(SYS_ioctl, fd, request, argument);
    int saved = errno;
    if (tracing() && !done && !fstat(from, &st)) {
        lock();
        note_copied(fd, 0, from, 0, st.st_size);
        unlock();
    }
    errno = saved;
    return done;
}

static int truncate_any(int fd, off_t length) {
    GUARDED(path_of_fd(fd, path), "ftruncate", TAKES_SPACE | ANY, path,
            (int)syscall(SYS_ftruncate, fd, length), note('t', inode_of(fd), length, path, NULL, NULL, 0));
}
int ftruncate(int fd, off_t length) { return truncate_any(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncate_any(fd, length); }
static int truncate_path(const char *name, off_t length) {
    struct stat st;
    GUARDED(full_path(AT_FDCWD, name, path), "truncate", TAKES_SPACE | ANY, path,
            (int)syscall(SYS_truncate, name, length),
            note('t', stat(name, &st) ? 0 : st.st_ino, length, path, NULL, NULL, 0));
}
int truncate(const char *name, off_t length) { return truncate_path(name, length); }
int truncate64(const char *name, off64_t length) { return truncate_path(name, length); }
static int allocate(int fd, int mode, off_t at, off_t length) {
    GUARDED(path_of_fd(fd, path), "fallocate", TAKES_SPACE | ANY, path,
            (int)syscall(SYS_fallocate, fd, mode, at, length), (void)0);
}
int fallocate(int fd, int mode, off_t at, off_t length) { return allocate(fd, mode, at, length); }
int fallocate64(int fd, int mode, off64_t at, off64_t length) { return allocate(fd, mode, at, length); }
int posix_fallocate(int fd, off_t at, off_t length) { return allocate(fd, 0, at, length) ? errno : 0; }
int posix_fallocate64(int fd, off64_t at, off64_t length) { return allocate(fd, 0, at, length) ? errno : 0; }

/* -- making durable (below a folder in memory there is nothing to wait for) --------------------- */

static int sync_any(const char *call, int fd) {
    GUARDED(path_of_fd(fd, path), call, ANY, path, (int)syscall(SYS_fsync, fd),
            note('f', inode_of(fd), 0, path, NULL, NULL, 0));
}
int fsync(int fd) { return sync_any("fsync", fd); }
int fdatasync(int fd) { return sync_any("fdatasync", fd); }
int syncfs(int fd) {
    GUARDED(path_of_fd(fd, path), "syncfs", ANY, path, 0, note('s', 0, 0, NULL, NULL, NULL, 0));
}
void sync(void) {
    if (!control) {
        syscall(SYS_sync);
        return;
    }
    if (tracing()) {
        lock();
        note('s', 0, 0, NULL, NULL, NULL, 0);
        unlock();
    } else {
        point("sync", control->root, ANY, 0);
    }
}

/* -- names ------------------------------------------------------------------------------------- */

static int rename_any(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    char other[PATH_MAX];
    full_path(from_folder, from, other);
    GUARDED(full_path(to_folder, to, path) || full_path(from_folder, from, path), "rename",
            TAKES_SPACE | ANY, path, (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags),
            note('r', 0, 0, other, path, NULL, 0));
}
int rename(const char *from, const char *to) { return rename_any(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int a, const char *from, int b, const char *to) { return rename_any(a, from, b, to, 0); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { return rename_any(a, from, b, to, flags); }

static int link_any(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    char other[PATH_MAX];
    full_path(from_folder, from, other);
    GUARDED(full_path(to_folder, to, path), "link", TAKES_SPACE | ANY, path,
            (int)syscall(SYS_linkat, from_folder, from, to_folder, to, flags),
            note('l', 0, 0, other, path, NULL, 0));
}
int link(const char *from, const char *to) { return link_any(AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int a, const char *from, int b, const char *to, int flags) { return link_any(a, from, b, to, flags); }

static int symlink_any(const char *target, int folder, const char *name) {
    GUARDED(full_path(folder, name, path), "symlink", TAKES_SPACE | ANY, path,
            (int)syscall(SYS_symlinkat, target, folder, name), note('y', 0, 0, target, path, NULL, 0));
}
int symlink(const char *target, const char *name) { return symlink_any(target, AT_FDCWD, name); }
int symlinkat(const char *target, int folder, const char *name) { return symlink_any(target, folder, name); }

static int unlink_any(int folder, const char *name, int flags) {
    GUARDED(full_path(folder, name, path), flags & AT_REMOVEDIR ? "rmdir" : "unlink", ANY, path,
            (int)syscall(SYS_unlinkat, folder, name, flags), note('u', 0, 0, path, NULL, NULL, 0));
}
int unlink(const char *name) { return unlink_any(AT_FDCWD, name, 0); }
int unlinkat(int folder, const char *name, int flags) { return unlink_any(folder, name, flags); }
int rmdir(const char *name) { return unlink_any(AT_FDCWD, name, AT_REMOVEDIR); }

static int mkdir_any(int folder, const char *name, mode_t mode) {
    struct stat st;
    if (!fstatat(folder, name, &st, 0)) return syscall(SYS_mkdirat, folder, name, mode);
    GUARDED(full_path(folder, name, path), "mkdir", TAKES_SPACE | ANY, path,
            (int)syscall(SYS_mkdirat, folder, name, mode), note('m', 0, 0, path, NULL, NULL, 0));
}
int mkdir(const char *name, mode_t mode) { return mkdir_any(AT_FDCWD, name, mode); }
int mkdirat(int folder, const char *name, mode_t mode) { return mkdir_any(folder, name, mode); }

/* -- modes and times --------------------------------------------------------------------------- */

static int chmod_any(int folder, const char *name, mode_t mode) {
    GUARDED(full_path(folder, name, path), "chmod", ANY, path,
            (int)syscall(SYS_fchmodat, folder, name, mode), (void)0);
}
int chmod(const char *name, mode_t mode) { return chmod_any(AT_FDCWD, name, mode); }
int fchmodat(int folder, const char *name, mode_t mode, int flags) {
    if (flags) {
        errno = ENOTSUP;
        return -1;
    }
    return chmod_any(folder, name, mode);
}
int fchmod(int fd, mode_t mode) {
    GUARDED(path_of_fd(fd, path), "fchmod", ANY, path, (int)syscall(SYS_fchmod, fd, mode), (void)0);
}
static int times_any(int folder, const char *name, const struct timespec *times, int flags) {
    GUARDED(name ? full_path(folder, name, path) : path_of_fd(folder, path), "utime", ANY, path,
            (int)syscall(SYS_utimensat, folder, name, times, flags), (void)0);
}
int utimensat(int folder, const char *name, const struct timespec *times, int flags) { return times_any(folder, name, times, flags); }
int futimens(int fd, const struct timespec *times) { return times_any(fd, NULL, times, 0); }
int utimes(const char *name, const struct timeval *given) {
    struct timespec times[2];
    for (int i = 0; given && i < 2; i++) {
        times[i].tv_sec = given[i].tv_sec;
        times[i].tv_nsec = given[i].tv_usec * 1000;
    }
    return times_any(AT_FDCWD, name, given ? times : NULL, 0);
}
int utime(const char *name, const struct utimbuf *given) {
    struct timespec times[2] = {{0, 0}, {0, 0}};
    if (given) {
        times[0].tv_sec = given->actime;
        times[1].tv_sec = given->modtime;
    }
    return times_any(AT_FDCWD, name, given ? times : NULL, 0);
}

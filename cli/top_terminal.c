/* The terminal, by plain ANSI sequences. Signals are read from a descriptor, so that nothing happens behind anybody's
 * back; they stay blocked while the terminal is ours. */
#include "cli/top.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "core/base/clock.h"

struct top_terminal {
    int signals;
    bool input; /* keys can be read */
    struct termios before;
    sigset_t mask_before;
};

static void write_all(const char *bytes, size_t len) {
    while (len) {
        ssize_t written = write(STDOUT_FILENO, bytes, len);
        if (written < 0 && errno != EINTR)
            return; /* the terminal is gone: a hang-up follows */
        if (written > 0) {
            bytes += written;
            len -= (size_t)written;
        }
    }
}

static void write_text(const char *text) {
    write_all(text, strlen(text));
}

/* Keys without waiting for a line's end, not shown. Ctrl-C stays a signal; Ctrl-Z would leave the screen behind. */
static bool take_keys(struct top_terminal *terminal) {
    struct termios ours;
    if (tcgetattr(STDIN_FILENO, &terminal->before) != 0)
        return false;
    ours = terminal->before;
    ours.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
    ours.c_cc[VSUSP] = _POSIX_VDISABLE;
    ours.c_cc[VMIN] = 0;
    ours.c_cc[VTIME] = 0;
    return tcsetattr(STDIN_FILENO, TCSANOW, &ours) == 0;
}

bool top_terminal_open(struct top_terminal **ret, struct err *err) {
    static const int wanted[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};
    struct top_terminal *terminal = mem_zalloc(sizeof *terminal);
    sigset_t signals;
    sigemptyset(&signals);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        sigaddset(&signals, wanted[i]);
    sigprocmask(SIG_BLOCK, &signals, &terminal->mask_before);
    terminal->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (terminal->signals < 0) {
        sigprocmask(SIG_SETMASK, &terminal->mask_before, NULL);
        free(terminal);
        return err_set(err, ERR_IO, "signals cannot be read: %s", strerrordesc_np(errno));
    }
    terminal->input = take_keys(terminal);
    write_text("\033[?1049h\033[?25l\033[?7l"); /* the other screen; no cursor; lines are not folded */
    *ret = terminal;
    return true;
}

void top_terminal_close(struct top_terminal *terminal) {
    if (!terminal)
        return;
    write_text("\033[?7h\033[?25h\033[?1049l");
    if (terminal->input)
        tcsetattr(STDIN_FILENO, TCSANOW, &terminal->before);
    close(terminal->signals);
    sigprocmask(SIG_SETMASK, &terminal->mask_before, NULL);
    free(terminal);
}

size_t top_terminal_fds(const struct top_terminal *terminal, int ret[2]) {
    ret[0] = terminal->signals;
    ret[1] = STDIN_FILENO;
    return terminal->input ? 2 : 1;
}

static enum top_event read_signals(struct top_terminal *terminal) {
    enum top_event event = TOP_NOTHING;
    struct signalfd_siginfo info;
    while (read(terminal->signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo != SIGWINCH)
            return TOP_QUIT;
        event = TOP_REDRAW;
    }
    return event;
}

static enum top_event read_keys(struct top_terminal *terminal) {
    char key;
    struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
    while (terminal->input && poll(&ready, 1, 0) == 1) {
        if (read(STDIN_FILENO, &key, 1) != 1)
            terminal->input = false; /* it is closed; the signals are left */
        else if (key == 'q' || key == 'Q')
            return TOP_QUIT;
    }
    return TOP_NOTHING;
}

enum top_event top_terminal_event(struct top_terminal *terminal) {
    enum top_event event = read_signals(terminal);
    return event == TOP_QUIT || read_keys(terminal) != TOP_QUIT ? event : TOP_QUIT;
}

void top_terminal_wait(struct top_terminal *terminal, int64_t until_us) {
    int fds[2];
    struct pollfd polled[2];
    size_t count = top_terminal_fds(terminal, fds);
    for (size_t i = 0; i < count; i++)
        polled[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    int64_t left_us = until_us - clock_monotonic_us();
    if (left_us > 0)
        poll(polled, count, (int)(left_us / 1000 + 1));
}

void top_terminal_size(const struct top_terminal *terminal, size_t *ret_columns, size_t *ret_rows) {
    struct winsize size = {0};
    (void)terminal;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    *ret_columns = known && size.ws_col ? size.ws_col : 80;
    *ret_rows = known && size.ws_row ? size.ws_row : 24;
}

/* Over what was there before, line by line, so that nothing flickers. The last line end would scroll. */
void top_terminal_show(struct top_terminal *terminal, struct str frame) {
    BUF_AUTO out = {0};
    (void)terminal;
    buf_add_str(&out, STR("\033[H"));
    for (size_t i = 0; i < frame.len; i++) {
        if (frame.ptr[i] != '\n')
            buf_add_char(&out, frame.ptr[i]);
        else
            buf_add_str(&out, i + 1 < frame.len ? STR("\033[K\r\n") : STR("\033[K"));
    }
    buf_add_str(&out, STR("\033[J"));
    write_all(out.ptr, out.len);
}

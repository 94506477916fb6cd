/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/top_terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/time.h"

/* The other screen, no cursor, and no wrapping: a line that a terminal counts wider than we do is cut. */
#define ENTER "\033[?1049h\033[?25l\033[?7l"
#define LEAVE "\033[?7h\033[?25h\033[?1049l"

static struct {
	bool keys; /* stdin is a terminal as well */
	struct termios before, ours; /* of stdin */
	volatile sig_atomic_t entered, draw;
	sigset_t waiting; /* the signals that are blocked while terminal_wait() waits */
	unsigned char typed[64];
	size_t typed_count, typed_at;
} terminal;

/* This and the next one also run in signal handlers: write() and tcsetattr() may. Where nothing can be written whoever looked is gone, which
 * the next read or signal says. */
static void show(void)
{
	terminal.entered = 1;
	if (terminal.keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal.ours);
	fd_write(STDOUT_FILENO, ENTER, strlen(ENTER));
}

static void hide(void)
{
	if (!terminal.entered)
		return;
	terminal.entered = 0;
	fd_write(STDOUT_FILENO, LEAVE, strlen(LEAVE));
	if (terminal.keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal.before);
}

/* Ends the process when it returns: the action is the default one by now, and the signal is raised again. */
static void on_end(int signal)
{
	hide();
	raise(signal);
}

static void on_stop(int signal);

static void set_handler(int signal, void (*handler)(int), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	sigaction(signal, &action, NULL);
}

static void on_stop(int signal)
{
	const int saved = errno;
	sigset_t set;

	hide();
	set_handler(SIGTSTP, SIG_DFL, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	raise(signal);
	sigprocmask(SIG_UNBLOCK, &set, NULL); /* stops here; on_continue() shows the screen again */
	set_handler(SIGTSTP, on_stop, SA_RESTART);
	errno = saved;
}

static void on_continue(int signal)
{
	const int saved = errno;

	(void)signal;
	show();
	terminal.draw = 1;
	errno = saved;
}

static void on_resize(int signal)
{
	(void)signal;
	terminal.draw = 1;
}

static const struct {
	int signal;
	void (*handler)(int);
	int flags;
	bool only_waiting; /* so that none comes between a look at `draw` and the wait */
} signals[] = {
	{ SIGINT, on_end, SA_RESETHAND, false },  { SIGTERM, on_end, SA_RESETHAND, false }, { SIGHUP, on_end, SA_RESETHAND, false },
	{ SIGQUIT, on_end, SA_RESETHAND, false }, { SIGTSTP, on_stop, SA_RESTART, false },  { SIGCONT, on_continue, 0, true },
	{ SIGWINCH, on_resize, 0, true },
};

int terminal_enter(struct error *err)
{
	sigset_t blocked;

	terminal.keys = isatty(STDIN_FILENO);
	if (terminal.keys && tcgetattr(STDIN_FILENO, &terminal.before) < 0)
		return error_set(err, -errno, "cannot read the settings of the terminal: %m");
	terminal.ours = terminal.before;
	terminal.ours.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* ISIG stays: Ctrl-C and Ctrl-Z work, whatever we wait for */
	terminal.ours.c_cc[VMIN] = 1;
	terminal.ours.c_cc[VTIME] = 0;
	sigemptyset(&blocked);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		if (signals[i].only_waiting)
			sigaddset(&blocked, signals[i].signal);
		set_handler(signals[i].signal, signals[i].handler, signals[i].flags);
	}
	sigprocmask(SIG_BLOCK, &blocked, &terminal.waiting);
	show();
	return 0;
}

void terminal_leave(void)
{
	hide();
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		set_handler(signals[i].signal, SIG_DFL, 0);
	sigprocmask(SIG_SETMASK, &terminal.waiting, NULL);
}

void terminal_size(size_t *ret_width, size_t *ret_height)
{
	struct winsize size = {};

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col || !size.ws_row)
		size = (struct winsize){ .ws_col = 80, .ws_row = 24 }; /* a serial line does not know */
	*ret_width = size.ws_col;
	*ret_height = size.ws_row;
}

void terminal_draw(const char *text)
{
	_cleanup_(buffer_done) struct buffer frame = {};

	buffer_add(&frame, "\033[H");
	while (*text) {
		const size_t length = strcspn(text, "\n");

		buffer_append(&frame, text, length);
		buffer_add(&frame, "\033[K");
		text += length + (text[length] == '\n');
		if (*text)
			buffer_add(&frame, "\n"); /* none after the last line, which may be the terminal's last */
	}
	buffer_add(&frame, "\033[J");
	if (!buffer_failed(&frame) && terminal.entered)
		fd_write(STDOUT_FILENO, frame.data, frame.length);
}

/* The next key of what was read: an escape sequence is none. -1: no more. */
static int next_key(void)
{
	while (terminal.typed_at < terminal.typed_count) {
		const unsigned char key = terminal.typed[terminal.typed_at++];

		if (key != 27 || terminal.typed_at == terminal.typed_count ||
		    !strchr("[O", terminal.typed[terminal.typed_at]))
			return key;
		while (++terminal.typed_at < terminal.typed_count) {
			const unsigned char last = terminal.typed[terminal.typed_at];

			if (last >= '@' && last <= '~') {
				terminal.typed_at++;
				break;
			}
		}
	}
	return -1;
}

int terminal_wait(uint64_t until_ns)
{
	struct pollfd poll = { .fd = terminal.keys ? STDIN_FILENO : -1, .events = POLLIN };

	for (;;) {
		const uint64_t now_ns = time_now_ns(), left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
		const struct timespec timeout = { (time_t)(left_ns / NSEC_PER_SEC), (long)(left_ns % NSEC_PER_SEC) };
		const int key = next_key();
		ssize_t n;
		int r;

		if (key >= 0)
			return key;
		if (terminal.draw) {
			terminal.draw = 0;
			return TERMINAL_DRAW;
		}
		r = ppoll(&poll, 1, until_ns == UINT64_MAX ? NULL : &timeout, &terminal.waiting);
		if (r == 0)
			return TERMINAL_TIME;
		if (r < 0)
			continue; /* a signal: `draw` says which */
		n = read(STDIN_FILENO, terminal.typed, sizeof(terminal.typed));
		if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
			return TERMINAL_CLOSED;
		terminal.typed_count = (size_t)MAX(n, 0);
		terminal.typed_at = 0;
	}
}

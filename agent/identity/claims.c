/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/claims.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "agent/identity/cgroup.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "base/time.h"
#include "maps/ring.h"

#define WAITING_MAX 8192
#define PLAN_WAIT_NS NSEC_PER_SEC /* no plan can be made as long as the configuration was never read, say */
#define SCAN_INTERVAL_NS NSEC_PER_SEC
#define PID_NAMESPACE_INODE 0xEFFFFFFC /* PROC_PID_INIT_INO: the kernel counts processes as this one does */

struct waiting {
	struct list node;
	int pid;
	uint64_t exec_ns; /* 0: found by a scan */
};

/* One claim on its way through the offload thread, the plan and the workloads. */
struct work {
	struct claims *claims; /* NULL: gone meanwhile */
	uint64_t exec_ns;
	struct claim claim;
	char node[1024];
};

/* A look at all processes. */
struct scan {
	struct claims *claims; /* NULL: gone meanwhile */
	char scope[PATH_MAX];
	int *pids;
	size_t count, capacity;
	int r;
};

struct claims {
	struct loop *loop;
	struct offload *offload;
	struct kernel *kernel;
	struct workloads *workloads;
	struct claims_options options;
	char *scope;
	char root[PATH_MAX];
	struct ring *ring;
	struct loop_io *io;
	struct loop_timer *plan_timer, *scan_timer;
	struct list waiting;
	struct work *work; /* NULL: nothing to do */
	bool awaits_plan;
	struct scan *scan; /* under way */
	uint64_t kernel_lost; /* as it was when the last scan began */
	struct claims_report report;
};

static void next(struct claims *c);

/* --- one after the other ---------------------------------------------------------------------------------------------------------------- */

static void finish(struct work *work)
{
	struct claims *c = work->claims;

	free(work);
	if (!c)
		return;
	c->work = NULL;
	c->awaits_plan = false;
	loop_timer_disarm(c->plan_timer);
	next(c);
}

static void refused(struct work *work, enum claim_outcome outcome, const struct error *err)
{
	struct claims *c = work->claims;
	const struct claim *claim = &work->claim;

	c->report.outcomes[outcome]++;
	c->report.last_refusal_wall_ns = time_to_wall_ns(time_now_ns());
	error_set(&c->report.last_refusal, -EPERM, "%s: process %d (%s), %s=%.200s: %s", claim_outcome_name(outcome), claim->pid, claim->program,
		  claim->variable, claim->value, err->message);
	log_limited(LOG_LEVEL_WARN, "a process is not taken for the virtual node that its environment names",
		    LOG_F("reason", LOG_STR(claim_outcome_name(outcome))), LOG_F("pid", LOG_INT(claim->pid)),
		    LOG_F("program", LOG_STR(claim->program)), LOG_F("variable", LOG_STR(claim->variable)),
		    LOG_F("value", LOG_STR(claim->value)), LOG_F("cgroup", LOG_STR(claim->cgroup)), LOG_F("error", LOG_STR(err->message)));
	finish(work);
}

static void note_window(struct claims_report *report, uint64_t exec_ns)
{
	const uint64_t now_ns = time_now_ns(), window_ns = now_ns > exec_ns ? now_ns - exec_ns : 0;

	report->window_count++;
	report->window_sum_ns += window_ns;
	report->window_last_ns = window_ns;
	report->window_max_ns = MAX(report->window_max_ns, window_ns);
}

static void on_enrolled(int r, const struct workload *workload, const struct error *err, void *arg)
{
	struct work *work = arg;
	struct claims *c = work->claims;

	if (!c || r == -ENOENT || r == -ECANCELED) /* it has ended, or we have */
		return finish(work);
	if (r < 0)
		return refused(work, r == -EBUSY ? CLAIM_OTHER_NODE : CLAIM_FAILED, err);
	c->report.outcomes[CLAIM_ENROLLED]++;
	if (work->exec_ns)
		note_window(&c->report, work->exec_ns);
	log_info("a workload by its environment", LOG_F("node", LOG_STR(workload->node)), LOG_F("pid", LOG_INT(work->claim.pid)),
		 LOG_F("program", LOG_STR(work->claim.program)), LOG_F("cgroup", LOG_STR(workload->cgroup)),
		 LOG_F("scope", LOG_STR(workload->own_netns ? "namespace" : "cgroup")),
		 LOG_F("after_us", LOG_U64(work->exec_ns ? c->report.window_last_ns / NSEC_PER_USEC : 0)));
	finish(work);
}

static void enrol(struct work *work)
{
	struct claims *c = work->claims;

	c->awaits_plan = false;
	loop_timer_disarm(c->plan_timer);
	workloads_enrol(c->workloads,
			&(struct workload_request){
				.node = work->node,
				.cgroup = work->claim.cgroup,
				.pid = work->claim.pid,
				.own_netns = work->claim.own_netns,
				.origin = CLAIM_ORIGIN,
			},
			on_enrolled, work);
}

/* Before its node is in the plan its connections would be refused (no-node), though a moment ago they passed. */
static void plan(struct work *work)
{
	struct claims *c = work->claims;

	if (c->options.planned(work->node, c->options.arg))
		return enrol(work);
	c->awaits_plan = true;
	loop_timer_arm(c->plan_timer, loop_now_ns(c->loop) + PLAN_WAIT_NS);
	c->options.changed(c->options.arg);
}

void claims_planned(struct claims *c)
{
	if (c && c->awaits_plan && c->options.planned(c->work->node, c->options.arg))
		enrol(c->work);
}

static void on_plan_timer(struct loop_timer *timer, void *arg)
{
	struct claims *c = arg;

	(void)timer;
	if (c->awaits_plan)
		enrol(c->work);
}

static void look(void *arg)
{
	struct work *work = arg;

	claim_look(&work->claim);
}

static void looked(void *arg)
{
	struct work *work = arg;
	struct claims *c = work->claims;
	struct claim *claim = &work->claim;
	const struct workload *acting;
	enum claim_outcome outcome;

	if (!c || !claim->found)
		return finish(work);
	if (c->options.resolve(claim->value, work->node, sizeof(work->node), &outcome, &claim->err, c->options.arg) < 0)
		return refused(work, outcome, &claim->err);
	acting = workloads_acting(c->workloads, claim->cgroup + strlen(c->root), claim->netns_cookie);
	if (acting && !strcmp(acting->node, work->node)) {
		c->report.outcomes[CLAIM_KNOWN]++;
		return finish(work);
	}
	if (acting) {
		error_set(&claim->err, -EBUSY, "it is part of workload %llu, which acts as '%s'", (unsigned long long)acting->id, acting->node);
		return refused(work, CLAIM_OTHER_NODE, &claim->err);
	}
	if (claim->refused)
		return refused(work, claim->outcome, &claim->err);
	plan(work);
}

static void next(struct claims *c)
{
	struct waiting *waiting;
	struct work *work;

	if (c->work || list_empty(&c->waiting))
		return;
	work = calloc(1, sizeof(*work));
	if (!work)
		return; /* the next event tries again */
	waiting = container_of(c->waiting.next, struct waiting, node);
	work->claims = c;
	work->exec_ns = waiting->exec_ns;
	work->claim.pid = waiting->pid;
	strcpy(work->claim.root, c->root);
	strcpy(work->claim.scope, c->scope);
	list_remove(&waiting->node);
	free(waiting);
	c->report.waiting--;
	if (offload_submit(c->offload, look, looked, work) < 0) {
		free(work);
		c->report.lost++;
		return;
	}
	c->work = work;
}

/* Whoever waits already is looked at as it is then; its window begins with the first time. */
static void add(struct claims *c, int pid, uint64_t exec_ns)
{
	struct waiting *waiting;

	list_for_each(it, &c->waiting)
		if (container_of(it, struct waiting, node)->pid == pid)
			return;
	waiting = c->report.waiting < WAITING_MAX ? calloc(1, sizeof(*waiting)) : NULL;
	if (!waiting) {
		c->report.lost++;
		loop_timer_arm(c->scan_timer, loop_now_ns(c->loop) + SCAN_INTERVAL_NS);
		return;
	}
	waiting->pid = pid;
	waiting->exec_ns = exec_ns;
	list_append(&c->waiting, &waiting->node);
	c->report.waiting++;
}

/* --- all that are there ------------------------------------------------------------------------------------------------------------------ */

static int scan_process(int pid, void *arg)
{
	struct scan *scan = arg;

	if (pid <= 0 || !claim_is_made(pid))
		return 0;
	if (scan->count == scan->capacity) {
		const size_t capacity = scan->capacity ? 2 * scan->capacity : 64;
		int *pids = reallocarray(scan->pids, capacity, sizeof(*pids));

		if (!pids)
			return -ENOMEM;
		scan->pids = pids;
		scan->capacity = capacity;
	}
	scan->pids[scan->count++] = pid;
	return 0;
}

static void scan_all(void *arg)
{
	struct scan *scan = arg;
	const struct cgroup_visitor visitor = { .process = scan_process, .arg = scan };

	scan->r = cgroup_visit(scan->scope, &visitor);
}

static void scanned(void *arg)
{
	struct scan *scan = arg;
	struct claims *c = scan->claims;

	if (c) {
		c->scan = NULL;
		if (scan->r < 0)
			log_warn("cannot look at every process for its environment", LOG_F("error", LOG_STR(strerror(-scan->r))));
		for (size_t i = 0; i < scan->count; i++)
			add(c, scan->pids[i], 0);
		next(c);
	}
	free(scan->pids);
	free(scan);
}

static void on_scan_timer(struct loop_timer *timer, void *arg)
{
	struct claims *c = arg;
	struct scan *scan = c->scan ? NULL : calloc(1, sizeof(*scan));

	c->kernel_lost = __atomic_load_n(&c->kernel->memory.exec->lost, __ATOMIC_RELAXED);
	if (scan) {
		scan->claims = c;
		strcpy(scan->scope, c->scope);
		if (offload_submit(c->offload, scan_all, scanned, scan) == 0) {
			c->scan = scan;
			return;
		}
		free(scan);
	}
	loop_timer_arm(timer, loop_now_ns(c->loop) + SCAN_INTERVAL_NS);
}

/* --- what the kernel tells ---------------------------------------------------------------------------------------------------------------- */

static void take(const void *data, size_t bytes, void *arg)
{
	struct exec_record record;

	if (bytes == sizeof(record)) {
		memcpy(&record, data, sizeof(record));
		add(arg, (int)record.pid, record.exec_ns);
	}
}

static void on_ring(struct loop_io *io, uint32_t events, void *arg)
{
	struct claims *c = arg;
	const uint64_t lost = __atomic_load_n(&c->kernel->memory.exec->lost, __ATOMIC_RELAXED);

	(void)io;
	(void)events;
	ring_read(c->ring, take, c);
	if (lost != c->kernel_lost) {
		c->report.lost += lost - c->kernel_lost;
		c->kernel_lost = lost;
		loop_timer_arm(c->scan_timer, loop_now_ns(c->loop) + SCAN_INTERVAL_NS);
	}
	next(c);
}

/* --- begin and end -------------------------------------------------------------------------------------------------------------------------- */

static const char *why_off(const struct claims *c)
{
	struct stat st;

	if (!c->options.wanted)
		return "off by --environment";
	if (c->kernel->exec_link_fd < 0)
		return "this kernel does not tell of programs that begin (exec_claim)";
	if (stat("/proc/self/ns/pid", &st) < 0 || st.st_ino != PID_NAMESPACE_INODE)
		return "weftd is in a pid namespace of its own, and the kernel counts processes otherwise";
	return NULL;
}

static int start(struct claims *c)
{
	int r = ring_new(c->kernel->exec_fd, &c->ring);

	if (r == 0)
		r = loop_io_add(c->loop, c->kernel->exec_fd, EPOLLIN, on_ring, c, &c->io);
	if (r == 0)
		r = loop_timer_new(c->loop, on_plan_timer, c, &c->plan_timer);
	if (r == 0)
		r = loop_timer_new(c->loop, on_scan_timer, c, &c->scan_timer);
	if (r < 0)
		return r;
	ring_read(c->ring, take, c); /* of the time before this agent: the kernel knows when they began, the scan does not */
	loop_timer_arm(c->scan_timer, 0); /* in the first turn: patterns are added until then, and go first */
	return 0;
}

int claims_new(struct loop *loop, struct offload *offload, struct kernel *kernel, struct workloads *workloads,
	       const struct claims_options *options, struct claims **ret_claims, struct error *err)
{
	struct claims *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return error_set(err, -ENOMEM, "out of memory");
	c->loop = loop;
	c->offload = offload;
	c->kernel = kernel;
	c->workloads = workloads;
	c->options = *options;
	list_init(&c->waiting);
	c->report.off = why_off(c);
	claim_leave_out_of_children(); /* weft-proxy */
	c->scope = strdup(options->scope);
	r = c->scope ? cgroup_root(c->root, sizeof(c->root), err) : -ENOMEM;
	if (r == 0 && c->root[0] && c->root[strlen(c->root) - 1] == '/')
		c->root[strlen(c->root) - 1] = '\0';
	if (r == 0 && !c->report.off)
		r = start(c);
	if (r < 0) {
		claims_free(c);
		return error_set(err, r, "cannot learn of programs that begin: %s", strerror(-r));
	}
	__atomic_store_n(&kernel->memory.exec->wanted, !c->report.off, __ATOMIC_RELEASE);
	if (c->report.off && options->wanted)
		log_warn("workloads cannot be found by their environment", LOG_F("reason", LOG_STR(c->report.off)));
	*ret_claims = c;
	return 0;
}

struct claims *claims_free(struct claims *c)
{
	if (!c)
		return NULL;
	if (c->work && c->awaits_plan)
		free(c->work);
	else if (c->work)
		c->work->claims = NULL;
	if (c->scan)
		c->scan->claims = NULL;
	list_for_each_safe(it, &c->waiting) {
		struct waiting *waiting = container_of(it, struct waiting, node);

		list_remove(&waiting->node);
		free(waiting);
	}
	loop_io_remove(c->io);
	ring_free(c->ring);
	loop_timer_free(c->plan_timer);
	loop_timer_free(c->scan_timer);
	free(c->scope);
	free(c);
	return NULL;
}

const char *claims_node(const struct claims *c)
{
	return c && c->work && c->work->node[0] ? c->work->node : NULL;
}

void claims_report(const struct claims *c, struct claims_report *ret_report)
{
	*ret_report = c->report;
}

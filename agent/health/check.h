/* SPDX-License-Identifier: Apache-2.0 */
/* What the results of one check add up to. Pure: time and chance are inputs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "maps/abi/endpoint.h"

#define CHECK_TEXT_BYTES 96

struct check_thresholds {
	uint32_t healthy, unhealthy; /* results in a row that change what is known */
};

enum check_outcome {
	CHECK_PASSED,
	CHECK_FAILED,
	CHECK_NOT_RUN, /* for a reason of our own (no descriptor, no memory, no namespace): says nothing of the endpoint */
};

struct check_result {
	enum check_outcome outcome;
	uint64_t at_ns; /* when it ended */
	uint64_t took_ns;
	char text[CHECK_TEXT_BYTES]; /* "200", "connection refused" */
};

/* All zero: HEALTH_UNCHECKED, which here means that nothing is known. */
struct check_history {
	enum health health; /* UP, DOWN, or nothing known */
	enum check_outcome row; /* what is said of the endpoint, so many times in a row */
	uint32_t in_a_row; /* 0: nothing so far */
	struct check_result last; /* at_ns 0: none; may be one that did not run */
	uint64_t changed_ns; /* 0: known from before, or not at all */
	uint64_t checks, failures, not_run;
};

/* What an earlier agent, or another check of the endpoint, has found out. */
void check_adopt(struct check_history *history, enum health health);
/* Whether `health` is another one now. The first result alone decides where nothing is known. */
bool check_add(struct check_history *history, const struct check_thresholds *thresholds, const struct check_result *result);

/* A tenth of the interval, so that checks which begin together are spread and none begins late. */
uint64_t check_first_delay_ns(uint64_t interval_ns, uint32_t random);
/* The interval, up to a tenth more or less: checks do not fall into step. */
uint64_t check_delay_ns(uint64_t interval_ns, uint32_t random);

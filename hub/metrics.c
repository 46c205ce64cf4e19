/*
 * metrics.c: GET /metrics: what the hub knows of itself and of the fleet, as Prometheus reads it.
 * opamphub-store.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "web_inside.h"

void
metrics_reply(struct web_request *q)
{
	struct fleet_figures f = fleet_figures(q->web->fleet);
	struct agent_counts c = {0};
	struct error err;
	char *text = NULL;
	int n;

	if (store_agents_counts(fleet_store(q->web->fleet), &c, &err) == -1) {
		web_fault(q, 500, "%s", err.text);
		return;
	}
	n = asprintf(&text,
	    "# HELP opamphub_agents Agents that the hub knows, by state.\n"
	    "# TYPE opamphub_agents gauge\n"
	    "opamphub_agents{state=\"known\"} %" PRIu64 "\n"
	    "opamphub_agents{state=\"connected\"} %" PRIu64 "\n"
	    "opamphub_agents{state=\"healthy\"} %" PRIu64 "\n"
	    "opamphub_agents{state=\"unhealthy\"} %" PRIu64 "\n"
	    "# HELP opamphub_configurations Agents by the status of their remote configuration.\n"
	    "# TYPE opamphub_configurations gauge\n"
	    "opamphub_configurations{status=\"applied\"} %" PRIu64 "\n"
	    "opamphub_configurations{status=\"applying\"} %" PRIu64 "\n"
	    "opamphub_configurations{status=\"failed\"} %" PRIu64 "\n"
	    "opamphub_configurations{status=\"waiting\"} %" PRIu64 "\n"
	    "# HELP opamphub_reports_total Reports of agents that were stored.\n"
	    "# TYPE opamphub_reports_total counter\n"
	    "opamphub_reports_total %" PRIu64 "\n"
	    "# HELP opamphub_commits_total Transactions of the store.\n"
	    "# TYPE opamphub_commits_total counter\n"
	    "opamphub_commits_total %" PRIu64 "\n"
	    "# HELP opamphub_offers_total Configurations offered to agents.\n"
	    "# TYPE opamphub_offers_total counter\n"
	    "opamphub_offers_total %" PRIu64 "\n"
	    "# HELP opamphub_commands_total Commands for agents.\n"
	    "# TYPE opamphub_commands_total counter\n"
	    "opamphub_commands_total %" PRIu64 "\n"
	    "# HELP opamphub_unsent_total What could not be sent to an agent.\n"
	    "# TYPE opamphub_unsent_total counter\n"
	    "opamphub_unsent_total %" PRIu64 "\n"
	    "# HELP opamphub_requests_total Requests for the page and the API.\n"
	    "# TYPE opamphub_requests_total counter\n"
	    "opamphub_requests_total{result=\"any\"} %" PRIu64 "\n"
	    "opamphub_requests_total{result=\"refused\"} %" PRIu64 "\n",
	    c.total, c.connected, c.healthy, c.unhealthy, c.applied, c.applying, c.failed,
	    c.waiting, f.reports, f.commits, f.offers, f.commands, f.unsent, q->web->requests,
	    q->web->refused);
	if (n < 0)
		web_fault(q, 503, "out of memory");
	else
		web_reply(q, 200, "text/plain; version=0.0.4", text, (size_t)n);
	free(text);
}

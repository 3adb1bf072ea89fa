/** The names of log events that documents list and scripts wait for, with what each means. A test checks that those logged elsewhere are here. */
export const EVENTS = {
  "broker.started": "The broker serves; one line with version, cluster id, node id, listeners, WAL, store and what was probed.",
  "broker.draining": "SIGTERM or SIGINT came: no new connections, requests finish, the tail is uploaded.",
  "broker.stopped": "The process is about to exit, with how long the drain took.",
  "broker.fenced": "Another broker has taken over; this one releases nothing more and exits with code 70.",
  "broker.crashed": "A bug: an assertion failed or something unexpected was thrown; the process ends.",
  "config.warning": "A known setting that has no meaning here was set.",
  "server.listening": "A listener is open.",
  "server.accept-paused": "No descriptors (or connections, by max.connections) are left: new connections wait in the backlog.",
  "server.accept-resumed": "New connections are accepted again.",
  "connection.closed-by-broker": "A connection was closed because of what its client did; the reason names client, API and version.",
  "request.failed": "A handler could not answer; the connection was closed.",
  "log.repeated": "A line was held back because it repeats; how often.",
} as const satisfies Readonly<Record<string, string>>;

export type EventName = keyof typeof EVENTS;

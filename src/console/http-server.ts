/**
 * The HTTP side of a broker for operators and orchestrators:
 *
 *   /healthz   200 while the process can act at all; 503 with the reason when it cannot and should be restarted
 *   /readyz    200 when clients are served well; 503 with one reason a line otherwise
 *   /metrics   Prometheus exposition text
 */
import { Trouble } from "../base/trouble.ts";

export interface HttpSources {
  /** Why the process should be restarted; empty when it is healthy. */
  getHealthProblems(): readonly string[];
  /** Why clients should go elsewhere for now; empty when ready. */
  getReadinessProblems(): readonly string[];
  renderMetrics(): Promise<string>;
  readonly metricsContentType: string;
}

export interface HttpServer {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

const TEXT = { "content-type": "text/plain; charset=utf-8" };

function answerProblems(problems: readonly string[]): Response {
  if (problems.length === 0) return new Response("ok\n", { headers: TEXT });
  return new Response(`${problems.join("\n")}\n`, { status: 503, headers: TEXT });
}

async function answer(request: Request, sources: HttpSources): Promise<Response> {
  if (request.method !== "GET" && request.method !== "HEAD")
    return new Response("only GET\n", { status: 405, headers: { ...TEXT, allow: "GET, HEAD" } });
  switch (new URL(request.url).pathname) {
    case "/healthz":
      return answerProblems(sources.getHealthProblems());
    case "/readyz":
      return answerProblems(sources.getReadinessProblems());
    case "/metrics":
      return new Response(await sources.renderMetrics(), { headers: { "content-type": sources.metricsContentType } });
    default:
      return new Response("there is /healthz, /readyz and /metrics\n", { status: 404, headers: TEXT });
  }
}

/** Throws Trouble "http-port-in-use" or "http-bad-address". */
export function startHttpServer(place: { readonly host: string; readonly port: number }, sources: HttpSources): HttpServer {
  try {
    const server = Bun.serve({
      hostname: place.host === "" ? "::" : place.host,
      port: place.port,
      reusePort: false,
      fetch: (request) => answer(request, sources),
      error: () => new Response("this request could not be answered\n", { status: 500, headers: TEXT }),
      development: false,
    });
    return { host: place.host, port: server.port ?? place.port, close: () => server.stop(true) };
  } catch (error) {
    const isInUse = (error as { code?: string }).code === "EADDRINUSE";
    throw new Trouble({
      code: isInUse ? "http-port-in-use" : "http-bad-address",
      message: `http.listener=${place.host}:${place.port} cannot be opened${isInUse ? ": the port is in use" : ""}`,
      remedy: isInUse
        ? "stop what listens there, set another port, or leave http.listener empty for none"
        : "name an address of this machine",
      retryable: isInUse,
      cause: error,
    });
  }
}

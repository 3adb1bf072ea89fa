/**
 * Stands between a broker and an S3 server as the part of S3 that decides who may ask: it knows which access keys hold, which have expired, and what time
 * it is there. What it lets through is signed anew with the server's own key. Also a container's credentials endpoint that hands out keys with an end.
 */
import { createHash, createHmac } from "node:crypto";
import type { Server } from "bun";
import type { S3Server } from "../support/s3-servers.ts";

/** S3 refuses signatures that are older or newer. */
const MAX_SKEW_MS = 900_000;

type Hmac = (key: string | Buffer, text: string) => Buffer;
const hmac: Hmac = (key, text) => createHmac("sha256", key).update(text).digest();

export class S3Gate {
  readonly endpoint: string;
  /** Access keys that hold. */
  readonly valid = new Set<string>();
  /** Answered with ExpiredToken; a key that is in neither with InvalidAccessKeyId. */
  readonly expired = new Set<string>();
  /** How far the server's clock is ahead. */
  private clockOffsetMs = 0;
  private inTime = 0;
  readonly refusals = new Map<string, number>();
  /** Keys that requests came with. */
  readonly used = new Set<string>();
  private readonly server: Server<undefined>;
  private readonly upstream: string;
  private readonly owner: S3Server;

  /** `upstream`: the server itself, or a fault proxy before it. */
  constructor(owner: S3Server, upstream: string) {
    this.owner = owner;
    this.upstream = upstream;
    this.server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: (request) => this.answer(request) });
    this.endpoint = `http://127.0.0.1:${this.server.port}`;
  }

  get refused(): number {
    return [...this.refusals.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Puts the server's clock ahead, and resolves when requests come that are signed for that time. Throws after a minute without. */
  async moveClock(offsetMs: number): Promise<void> {
    this.clockOffsetMs = offsetMs;
    this.inTime = 0;
    const startedMs = performance.now();
    while (this.inTime < 3) {
      if (performance.now() - startedMs > 60_000) throw new Error(`no request was signed for a clock that is ${offsetMs} ms ahead`);
      await Bun.sleep(20);
    }
  }

  /** Throws when no request came with `key` within a minute. */
  async whenUsed(key: string): Promise<void> {
    const startedMs = performance.now();
    while (!this.used.has(key)) {
      if (performance.now() - startedMs > 60_000) throw new Error(`no request came with ${key}`);
      await Bun.sleep(20);
    }
  }

  private async answer(request: Request): Promise<Response> {
    const body = await request.arrayBuffer();
    const refusal = this.judge(request.headers);
    if (refusal !== undefined) return this.refuse(refusal);
    const url = new URL(request.url);
    const target = this.upstream + url.pathname + url.search;
    const answer = await fetch(target, {
      method: request.method,
      headers: this.sign(request, url),
      decompress: false,
      ...(body.byteLength === 0 && request.method !== "PUT" ? {} : { body }),
    });
    const headers = new Headers(answer.headers);
    headers.set("date", this.now().toUTCString());
    return new Response(await answer.arrayBuffer(), { status: answer.status, headers });
  }

  private now(): Date {
    return new Date(Date.now() + this.clockOffsetMs);
  }

  private judge(headers: Headers): string | undefined {
    const key = /Credential=([^/]+)\//.exec(headers.get("authorization") ?? "")?.[1] ?? "";
    this.used.add(key);
    if (this.expired.has(key)) return "ExpiredToken";
    if (!this.valid.has(key)) return "InvalidAccessKeyId";
    const signed = (headers.get("x-amz-date") ?? "").replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z");
    if (Math.abs(Date.parse(signed) - this.now().getTime()) > MAX_SKEW_MS) return "RequestTimeTooSkewed";
    this.inTime++;
    return undefined;
  }

  private refuse(code: string): Response {
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
    const time = `<ServerTime>${this.now().toISOString()}</ServerTime>`;
    const text = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>refused by the gate</Message>${time}</Error>`;
    return new Response(text, { status: 403, headers: { "content-type": "application/xml", date: this.now().toUTCString() } });
  }

  /** The request's headers with an Authorization of the server's own key over host, x-amz-* and no payload (AWS Signature Version 4). */
  private sign(request: Request, url: URL): Record<string, string> {
    const { accessKeyId, secretAccessKey } = this.owner.credentials;
    const stamp = new Date().toISOString().replace(/[-:]|\.\d{3}/g, "");
    const headers: Record<string, string> = {};
    for (const [name, value] of request.headers) {
      if (!/^(authorization|connection|content-length|x-amz-security-token|expect)$/.test(name)) headers[name] = value;
    }
    Object.assign(headers, {
      host: new URL(this.upstream).host,
      "x-amz-date": stamp,
      "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
    });
    const names = Object.keys(headers)
      .filter((name) => name === "host" || name.startsWith("x-amz-"))
      .sort();
    const query = url.search.slice(1).split("&").filter(Boolean);
    const sorted = query.map((pair) => (pair.includes("=") ? pair : `${pair}=`)).sort();
    const canonical = [
      request.method,
      url.pathname,
      sorted.join("&"),
      ...names.map((name) => `${name}:${headers[name]?.trim()}`),
      "",
      names.join(";"),
      "UNSIGNED-PAYLOAD",
    ].join("\n");
    const scope = `${stamp.slice(0, 8)}/${this.owner.region}/s3/aws4_request`;
    const text = ["AWS4-HMAC-SHA256", stamp, scope, createHash("sha256").update(canonical).digest("hex")].join("\n");
    const key = scope.split("/").reduce<string | Buffer>((derived, part) => hmac(derived, part), `AWS4${secretAccessKey}`);
    const signature = hmac(key, text).toString("hex");
    headers.authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
    return headers;
  }

  [Symbol.dispose](): void {
    this.server.stop(true);
  }
}

/** The endpoint that AWS_CONTAINER_CREDENTIALS_FULL_URI names: each answer is a new key, which holds at the gate for `lifeMs`. */
export class CredentialsEndpoint {
  readonly url: string;
  /** Answers 500 instead. */
  isFailing = false;
  answers = 0;
  lifeMs = 60_000;
  private readonly server: Server<undefined>;

  constructor(gate: S3Gate) {
    this.server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => {
        if (this.isFailing) return new Response("no credentials now", { status: 500 });
        const key = `CONTAINER${++this.answers}`;
        gate.valid.add(key);
        setTimeout(() => {
          gate.valid.delete(key);
          gate.expired.add(key);
        }, this.lifeMs);
        const Expiration = new Date(Date.now() + this.lifeMs).toISOString();
        return Response.json({ AccessKeyId: key, SecretAccessKey: `secret-of-${key}`, Token: `token-of-${key}`, Expiration });
      },
    });
    this.url = `http://127.0.0.1:${this.server.port}/credentials`;
  }

  [Symbol.dispose](): void {
    this.server.stop(true);
  }
}

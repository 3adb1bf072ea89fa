/**
 * The SDK's requests as fetches of the runtime.
 *
 * Invariants: a request that was given up before its turn never looks at its body. `fetch` has copied the body when it returns (the runtime does so, and the
 * test of this file holds it to that), so once a call of the store has ended nobody reads the caller's bytes, even where the copy is still being sent. The
 * copy is freed with its request: the SDK's own handler makes a Request, which keeps one more until the garbage collector comes.
 *
 * Neighbours: `s3-store.ts`, which promises `keepsNoBytes` on this ground.
 */
import { FetchHttpHandler } from "@smithy/fetch-http-handler";

type SdkRequest = Parameters<FetchHttpHandler["handle"]>[0];
type SdkOptions = NonNullable<Parameters<FetchHttpHandler["handle"]>[1]>;
type SdkAnswer = Awaited<ReturnType<FetchHttpHandler["handle"]>>;

export class S3HttpHandler extends FetchHttpHandler {
  /** Rejects with the signal's reason when that comes first. */
  override async handle(request: SdkRequest, { abortSignal }: SdkOptions = {}): Promise<SdkAnswer> {
    const signal = abortSignal as AbortSignal | undefined;
    signal?.throwIfAborted();
    const { method, body } = request;
    const answer = await fetch(urlOf(request), {
      method,
      headers: request.headers,
      ...(body === undefined || method === "GET" ? {} : { body: body as string | Uint8Array<ArrayBuffer> }),
      ...(signal === undefined ? {} : { signal }),
    });
    const headers: Record<string, string> = {};
    answer.headers.forEach((value, name) => {
      headers[name] = value;
    });
    // What GET brings is read by the caller, as a stream; other answers are small and are read at once.
    const content = method === "GET" && answer.body !== null ? answer.body : await answer.bytes();
    return { response: { statusCode: answer.status, reason: answer.statusText, headers, body: content } };
  }
}

function urlOf({ protocol, hostname, port, path, query = {} }: SdkRequest): string {
  const parts: string[] = [];
  for (const [key, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      parts.push(each === null ? encode(key) : `${encode(key)}=${encode(each)}`);
    }
  }
  const place = `${protocol}//${hostname}${port === undefined ? "" : `:${port}`}${path}`;
  return parts.length === 0 ? place : `${place}?${parts.join("&")}`;
}

/** As the signature's canonical form has it (RFC 3986). */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

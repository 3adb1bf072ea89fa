/** `wal` and `object.store`: where bytes go. Each is KIND:PLACE with options after a question mark. */
import type { ObjectStoreConfig, WalConfig } from "./config.ts";
import { badValue, parseSize } from "./values.ts";

const DEFAULT_WAL_FILE_BYTES = 4 * 1024 ** 3;
/** Below it not even the largest default batch fits a quarter of the log. */
const SMALLEST_WAL_BYTES = 16 * 1024 ** 2;
const WAL_FORM = "block:DEVICE, file:PATH?size=4GiB or memory:";
const STORE_FORM = "s3://BUCKET/PREFIX?region=R&endpoint=URL&pathStyle=true, file:DIR or memory:";

interface Place {
  readonly path: string;
  readonly options: ReadonlyMap<string, string>;
}

function splitOptions(text: string): Place {
  const mark = text.indexOf("?");
  if (mark < 0) return { path: text, options: new Map() };
  return { path: text.slice(0, mark), options: new Map(new URLSearchParams(text.slice(mark + 1))) };
}

/** A URL may carry a user's name and password, which must not come back in a message. */
function withoutCredentials(text: string): string {
  return text.replace(/\/\/[^/]*@/g, "//***@");
}

/** The first option that is not among `known`. */
function findUnknownOption(place: Place, known: readonly string[]): string | undefined {
  return [...place.options.keys()].find((name) => !known.includes(name));
}

/** Throws Trouble "config-bad-value". */
export function parseWal(text: string, source: string): WalConfig {
  const value = text.trim();
  const fail = (expected: string) => badValue("wal", text, expected, source);
  if (value === "memory:") return { kind: "memory" };
  const kind = value.slice(0, value.indexOf(":") + 1);
  const place = splitOptions(value.slice(kind.length));
  if (kind === "block:") {
    const option = findUnknownOption(place, []);
    if (option !== undefined) throw fail(`block:DEVICE without options in this version; ${option} is not known`);
    if (!place.path.startsWith("/")) throw fail("block:DEVICE with an absolute path, such as block:/dev/nvme1n1");
    return { kind: "block", path: place.path };
  }
  if (kind === "file:") {
    const option = findUnknownOption(place, ["size"]);
    if (option !== undefined) throw fail(`file:PATH?size=4GiB; the option ${option} is not known`);
    const size = place.options.get("size");
    const sizeBytes = size === undefined ? DEFAULT_WAL_FILE_BYTES : parseSize(size);
    if (place.path === "") throw fail("file:PATH?size=4GiB with a path");
    if (sizeBytes === undefined || sizeBytes < SMALLEST_WAL_BYTES)
      throw fail("file:PATH?size=SIZE with a size of at least 16MiB, such as 4GiB");
    return { kind: "file", path: place.path, sizeBytes };
  }
  if (kind === "s3:" || kind === "mirror:") throw fail(`${WAL_FORM}: ${kind} is not served in this version`);
  throw fail(WAL_FORM);
}

/** Throws Trouble "config-bad-value". */
export function parseObjectStore(text: string, source: string): ObjectStoreConfig {
  const value = text.trim();
  const fail = (expected: string) => badValue("object.store", withoutCredentials(text), expected, source);
  if (value === "memory:") return { kind: "memory" };
  if (value.startsWith("file:")) {
    const directory = value.slice("file:".length);
    if (directory === "" || directory.includes("?")) throw fail("file:DIR with a directory and no options");
    return { kind: "file", directory };
  }
  if (!value.startsWith("s3://")) throw fail(STORE_FORM);
  const place = splitOptions(value.slice("s3://".length));
  const option = findUnknownOption(place, ["region", "endpoint", "pathStyle"]);
  if (option !== undefined) throw fail(`${STORE_FORM}; the option ${option} is not known`);
  const slash = place.path.indexOf("/");
  const bucket = slash < 0 ? place.path : place.path.slice(0, slash);
  const prefix = slash < 0 ? "" : place.path.slice(slash + 1).replace(/\/+$/, "");
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$/.test(bucket))
    throw fail(`${STORE_FORM}, with a bucket name of 2 to 63 letters, digits, dots and dashes`);
  if (prefix !== "" && prefix.split("/").includes("")) throw fail(`${STORE_FORM}, with a prefix that has no empty part`);
  const endpoint = place.options.get("endpoint");
  if (endpoint !== undefined && !/^https?:\/\/[^/]+/.test(endpoint))
    throw fail(`${STORE_FORM}, with an endpoint that begins with http:// or https://`);
  if (endpoint?.includes("@") === true)
    throw fail(`${STORE_FORM}, with no credentials in the endpoint: they come from the AWS default chain`);
  const pathStyle = place.options.get("pathStyle") ?? "false";
  if (pathStyle !== "true" && pathStyle !== "false") throw fail(`${STORE_FORM}, with pathStyle true or false`);
  return { kind: "s3", bucket, prefix, region: place.options.get("region"), endpoint, pathStyle: pathStyle === "true" };
}

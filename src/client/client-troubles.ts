/** What a broker or the way to it answered, as Troubles: one line, Kafka's name of the error as code, and what the user can do. */
import { Trouble } from "../base/trouble.ts";
import { type ErrorCodeName, ErrorCodes, errorInfo } from "../protocol/error-codes.ts";

const REMEDIES: Partial<Record<ErrorCodeName, string>> = {
  UNKNOWN_TOPIC_OR_PARTITION: "see `weir topic list` for those that exist",
  TOPIC_ALREADY_EXISTS: "choose another name, or delete that topic first",
  INVALID_TOPIC_EXCEPTION: "a name has 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'",
  GROUP_ID_NOT_FOUND: "see `weir group list` for those that exist",
  NON_EMPTY_GROUP: "stop its members first",
  OFFSET_OUT_OF_RANGE: "see the offsets in `weir topic describe`, or use --from beginning",
  MESSAGE_TOO_LARGE: "raise max.message.bytes of the topic, or send smaller records",
  RECORD_LIST_TOO_LARGE: "raise max.message.bytes of the topic, or send smaller records",
  REQUEST_TIMED_OUT: "try again; `weir doctor` on the broker's machine looks for what is slow",
  TOPIC_AUTHORIZATION_FAILED: "this principal needs an ACL for it",
};

/**
 * `code`: Kafka's numeric error code, not NONE. `said`: the broker's own words, when it gave some. A topic that is not there is worth another try only
 * to who has just asked for its creation (`isAwaited`), though Kafka calls it retriable.
 */
export function kafkaTrouble(code: number, subject: string, said?: string | null, isAwaited = false): Trouble {
  const info = errorInfo(code);
  const name = info?.name ?? `error-${code}`;
  const remedy = info === undefined ? undefined : REMEDIES[info.name];
  const text = said === undefined || said === null || said === "" ? (info?.message ?? `error code ${code}`) : said;
  return new Trouble({
    code: name.toLowerCase().replaceAll("_", "-"),
    message: `${subject}: ${text.replace(/\.$/, "")}`,
    retryable: info?.retriable === true && (isAwaited || code !== ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION),
    ...(remedy === undefined ? {} : { remedy }),
  });
}

/** Throws unless `code` is NONE. */
export function expectNone(code: number, subject: string, said?: string | null, isAwaited = false): void {
  if (code !== ErrorCodes.NONE) throw kafkaTrouble(code, subject, said, isAwaited);
}

/** The way to a broker: refused, silent, closed, or not speaking Kafka. Another try may go through. */
export function connectionTrouble(place: string, detail: string): Trouble {
  return new Trouble({
    code: "broker-unreachable",
    message: `${place}: ${detail}`,
    remedy: "check --bootstrap-server, and that a broker runs and advertises an address that this machine reaches",
    retryable: true,
  });
}

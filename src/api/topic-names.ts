/** Which topic names are right, in Kafka's words (org.apache.kafka.common.internals.Topic). */
const MAX_NAME_LENGTH = 249;
const LEGAL_NAME = /^[a-zA-Z0-9._-]+$/;
export const CLUSTER_METADATA_TOPIC = "__cluster_metadata";
const INTERNAL_TOPICS: ReadonlySet<string> = new Set(["__consumer_offsets", "__transaction_state", "__share_group_state"]);

/** What is wrong with the name, or undefined. */
export function findTopicNameError(name: string): string | undefined {
  if (name === "") return "Topic name is invalid: the empty string is not allowed";
  if (name === "." || name === "..") return `Topic name is invalid: '${name}' is not allowed`;
  if (name.length > MAX_NAME_LENGTH) {
    return `Topic name is invalid: the length of '${name}' is longer than the max allowed length ${MAX_NAME_LENGTH}`;
  }
  if (LEGAL_NAME.test(name)) return undefined;
  return `Topic name is invalid: '${name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'`;
}

export function isInternalTopicName(name: string): boolean {
  return INTERNAL_TOPICS.has(name);
}

/** Names that differ only in '.' and '_' collide in metric names. */
export function unifyCollisionChars(name: string): string {
  return name.replaceAll(".", "_");
}

export function hasCollisionChars(name: string): boolean {
  return name.includes(".") || name.includes("_");
}

/** Names given more than once. */
export function findRepeated(names: Iterable<string>): Set<string> {
  const seen = new Set<string>();
  const repeated = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) repeated.add(name);
    seen.add(name);
  }
  return repeated;
}

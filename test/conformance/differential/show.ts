/** Requests, answers and their fields in one line, bytes as hexadecimal digits. */
export function show(value: unknown): string {
  return (
    JSON.stringify(value, (_key, item: unknown) => {
      if (typeof item === "bigint") return Number(item);
      if (typeof item === "object" && item !== null && "type" in item && item.type === "Buffer" && "data" in item) {
        const bytes = Buffer.from(item.data as number[]);
        return `<${bytes.length} bytes ${bytes.subarray(0, 80).toString("hex")}>`;
      }
      if (item instanceof Uint8Array) return `<${item.length} bytes ${Buffer.from(item.subarray(0, 80)).toString("hex")}>`;
      return item;
    }) ?? "undefined"
  );
}

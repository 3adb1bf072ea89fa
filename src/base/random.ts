/** Randomness as the code sees it; the simulator gives a seeded body. `Math.random` and crypto are banned elsewhere. */
export interface Random {
  /** Uniform in [0, 1). */
  nextFloat(): number;
  /** Uniform integer in [0, bound). 1 <= bound <= 2^31. */
  nextInt(bound: number): number;
  /** Fills and returns `target`. */
  fillBytes(target: Uint8Array): Uint8Array;
}

/** A random (version 4, RFC 9562) UUID as 16 bytes, never all zero, whose base64url form does not begin with '-' (as Kafka's Uuid.randomUuid). */
export function randomUuidBytes(random: Random): Uint8Array {
  for (;;) {
    const bytes = random.fillBytes(new Uint8Array(16));
    bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
    bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
    if ((bytes[0] ?? 0) >> 2 !== 62) return bytes;
  }
}

/** Metrics of one WAL, declared once. */
import type { Counter, Histogram, Metrics } from "../../telemetry/telemetry.ts";

const WRITE_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];
const COMMIT_BYTES = [4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216];

export interface WalGaugeSources {
  usedBlocks(): number;
  capacityBlocks(): number;
  inFlightWrites(): number;
  waitingReservations(): number;
}

export class WalMetrics {
  readonly writeSeconds: Histogram;
  readonly commitBytes: Histogram;
  readonly appendedBytes: Counter;
  readonly failedWrites: Counter;

  constructor(metrics: Metrics, gauges: WalGaugeSources) {
    this.writeSeconds = metrics.histogram(
      "weir_wal_write_seconds",
      "Time from submitting a commit to the device until it is durable",
      WRITE_SECONDS,
    );
    this.commitBytes = metrics.histogram("weir_wal_commit_bytes", "Size of a commit as written", COMMIT_BYTES);
    this.appendedBytes = metrics.counter("weir_wal_appended_bytes_total", "Payload bytes appended");
    this.failedWrites = metrics.counter("weir_wal_failed_writes_total", "Device writes that failed and were repeated");
    metrics.observedGauge("weir_wal_used_blocks", "Blocks of 4 KiB that are neither trimmed nor free", gauges.usedBlocks);
    metrics.observedGauge("weir_wal_capacity_blocks", "Blocks of 4 KiB in the data area", gauges.capacityBlocks);
    metrics.observedGauge("weir_wal_in_flight_writes", "Commits on their way to the device", gauges.inFlightWrites);
    metrics.observedGauge("weir_wal_waiting_reservations", "Requests that wait for room in ring or WAL", gauges.waitingReservations);
  }
}

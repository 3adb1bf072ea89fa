/** The transaction room's metrics: declared once, whatever the number of transactions. */
import type { Counter, Metrics } from "../telemetry/telemetry.ts";
import type { TransactionState } from "./transaction-entry.ts";

export interface TransactionMetrics {
  readonly commits: Counter;
  readonly aborts: Counter;
  readonly timeouts: Counter;
  readonly expired: Counter;
  readonly markers: Counter;
}

export interface TransactionCounts {
  countTransactions(state: TransactionState): number;
  countLoading(): number;
}

const STATES: readonly TransactionState[] = ["Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort"];

export function declareTransactionMetrics(metrics: Metrics, counts: TransactionCounts): TransactionMetrics {
  for (const state of STATES) {
    const help = "Transactional ids coordinated here, by the state of their transaction.";
    metrics.observedGauge("weir_transactional_ids", help, () => counts.countTransactions(state), { state });
  }
  metrics.observedGauge("weir_transaction_partitions_loading", "Partitions of __transaction_state that are being read.", () =>
    counts.countLoading(),
  );
  return {
    commits: metrics.counter("weir_transactions_committed_total", "Transactions committed: decided, and every marker written."),
    aborts: metrics.counter("weir_transactions_aborted_total", "Transactions aborted: decided, and every marker written."),
    timeouts: metrics.counter("weir_transactions_timed_out_total", "Transactions aborted because their time was up."),
    expired: metrics.counter("weir_transactional_ids_expired_total", "Transactional ids forgotten because nobody had used them for long."),
    markers: metrics.counter("weir_transaction_markers_total", "Ends of transactions written into partitions."),
  };
}

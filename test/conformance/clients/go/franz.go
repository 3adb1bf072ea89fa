// franz-go, as its documentation shows it: manual partitioner, idempotent by default, direct consumption of partitions.
package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type franz struct{}

var franzCodecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func (franz) produce(bootstrap, topic, codec string, next func() (int32, []byte, bool)) error {
	compression, known := franzCodecs[codec]
	if !known {
		return fmt.Errorf("franz-go has no codec %s", codec)
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(compression),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(50000),
		kgo.RecordDeliveryTimeout(4*time.Minute),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	var once sync.Once
	var failure error
	for {
		partition, value, ok := next()
		if !ok {
			break
		}
		record := &kgo.Record{Topic: topic, Partition: partition, Value: value}
		client.Produce(context.Background(), record, func(_ *kgo.Record, err error) {
			if err != nil {
				once.Do(func() { failure = err })
			}
		})
	}
	if err := client.Flush(context.Background()); err != nil {
		return err
	}
	return failure
}

func (franz) consume(bootstrap, topic string, t *tally) error {
	offsets := map[int32]kgo.Offset{}
	for p := range t.wanted {
		offsets[int32(p)] = kgo.NewOffset().At(0)
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	for t.missing > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("%d records did not come: %w", t.missing, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { t.add(r.Partition, r.Offset, r.Value) })
	}
	return nil
}

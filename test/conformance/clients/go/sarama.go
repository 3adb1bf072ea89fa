// Sarama: idempotent where its version allows, manual partitioner, one partition consumer for each partition.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/IBM/sarama"
)

type saramaClient struct{}

var saramaCodecs = map[string]sarama.CompressionCodec{
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

func saramaConfig() (*sarama.Config, error) {
	config := sarama.NewConfig()
	if text := os.Getenv("SARAMA_VERSION"); text != "" {
		version, err := sarama.ParseKafkaVersion(text)
		if err != nil {
			return nil, err
		}
		config.Version = version
	}
	return config, nil
}

func (saramaClient) produce(bootstrap, topic, codec string, next func() (int32, []byte, bool)) error {
	config, err := saramaConfig()
	if err != nil {
		return err
	}
	compression, known := saramaCodecs[codec]
	if !known {
		return fmt.Errorf("sarama has no codec %s", codec)
	}
	config.Producer.Compression = compression
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	producer, err := sarama.NewAsyncProducer([]string{bootstrap}, config)
	if err != nil {
		return err
	}
	var failure error
	done := make(chan struct{})
	go func() {
		defer close(done)
		successes, errors := producer.Successes(), producer.Errors()
		for successes != nil || errors != nil {
			select {
			case _, open := <-successes:
				if !open {
					successes = nil
				}
			case err, open := <-errors:
				if !open {
					errors = nil
				} else if failure == nil {
					failure = err
				}
			}
		}
	}()
	for {
		partition, value, ok := next()
		if !ok {
			break
		}
		producer.Input() <- &sarama.ProducerMessage{Topic: topic, Partition: partition, Value: sarama.ByteEncoder(value)}
	}
	producer.AsyncClose()
	<-done
	return failure
}

func (saramaClient) consume(bootstrap, topic string, t *tally) error {
	config, err := saramaConfig()
	if err != nil {
		return err
	}
	consumer, err := sarama.NewConsumer([]string{bootstrap}, config)
	if err != nil {
		return err
	}
	defer consumer.Close()
	deadline := time.After(4 * time.Minute)
	for p := range t.wanted {
		partition, err := consumer.ConsumePartition(topic, int32(p), sarama.OffsetOldest)
		if err != nil {
			return err
		}
		for t.seen[p] < t.wanted[p] {
			select {
			case message := <-partition.Messages():
				t.add(message.Partition, message.Offset, message.Value)
			case <-deadline:
				return fmt.Errorf("%d records did not come", t.missing)
			}
		}
		if err := partition.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Transactional clients: franz-go and Sarama do what transactions-clients/transactional.py says.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	transactions  = 3
	inTransaction = 5
	inputs        = 10
)

func transact(library, bootstrap, input, output, name string) error {
	if library == "sarama" {
		return transactSarama(bootstrap, input, output, name)
	}
	return transactFranz(bootstrap, input, output, name)
}

func transactFranz(bootstrap, input, output, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(bootstrap),
		kgo.TransactionalID(name),
		kgo.DefaultProduceTopic(output),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumerGroup(name),
		kgo.ConsumeTopics(input),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.RequireStableFetchOffsets(),
	)
	if err != nil {
		return err
	}
	defer session.Close()
	client := session.Client()
	write := func(prefix string) error {
		records := make([]*kgo.Record, inTransaction)
		for index := range records {
			records[index] = kgo.StringRecord(fmt.Sprintf("%s-%d", prefix, index))
		}
		return client.ProduceSync(ctx, records...).FirstErr()
	}
	for n := range transactions + 1 {
		if err := client.BeginTransaction(); err != nil {
			return err
		}
		prefix, end := fmt.Sprintf("c%d", n), kgo.TryCommit
		if n == transactions {
			prefix, end = "aborted", kgo.TryAbort
		}
		if err := write(prefix); err != nil {
			return err
		}
		if err := client.EndTransaction(ctx, end); err != nil {
			return err
		}
	}
	if err := session.Begin(); err != nil {
		return err
	}
	for copied := 0; copied < inputs; {
		fetches := session.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			session.Produce(ctx, kgo.StringRecord("copy-"+string(r.Value)), func(_ *kgo.Record, err error) { fatal(err) })
			copied++
		})
	}
	committed, err := session.End(ctx, kgo.TryCommit)
	if err == nil && !committed {
		err = fmt.Errorf("the copy was not committed")
	}
	return err
}

func transactSarama(bootstrap, input, output, name string) error {
	config := sarama.NewConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Producer.Return.Successes = true
	config.Producer.Transaction.ID = name
	config.Net.MaxOpenRequests = 1
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	write := func(values []string) error {
		messages := make([]*sarama.ProducerMessage, len(values))
		for index, value := range values {
			messages[index] = &sarama.ProducerMessage{Topic: output, Value: sarama.StringEncoder(value)}
		}
		return producer.SendMessages(messages)
	}
	for n := range transactions + 1 {
		if err := producer.BeginTxn(); err != nil {
			return err
		}
		prefix, end := fmt.Sprintf("c%d", n), producer.CommitTxn
		if n == transactions {
			prefix, end = "aborted", producer.AbortTxn
		}
		var values []string
		for index := range inTransaction {
			values = append(values, fmt.Sprintf("%s-%d", prefix, index))
		}
		if err := write(values); err != nil {
			return err
		}
		if err := end(); err != nil {
			return err
		}
	}
	consumer, err := sarama.NewConsumer([]string{bootstrap}, config)
	if err != nil {
		return err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(input, 0, sarama.OffsetOldest)
	if err != nil {
		return err
	}
	defer partition.Close()
	var values []string
	for len(values) < inputs {
		values = append(values, "copy-"+string((<-partition.Messages()).Value))
	}
	if err := producer.BeginTxn(); err != nil {
		return err
	}
	if err := write(values); err != nil {
		return err
	}
	offsets := map[string][]*sarama.PartitionOffsetMetadata{input: {{Partition: 0, Offset: inputs}}}
	if err := producer.AddOffsetsToTxn(offsets, name); err != nil {
		return err
	}
	return producer.CommitTxn()
}

// One member of a group, in Go: members franz-go|sarama and the arguments of GroupMember.java.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

type arguments struct {
	bootstrap, topic, group, instance string
	session                           time.Duration
}

var output sync.Mutex

func write(lines *strings.Builder) {
	output.Lock()
	defer output.Unlock()
	os.Stdout.WriteString(lines.String())
}

func line(lines *strings.Builder, kind string, partition int32, offset int64) {
	fmt.Fprintf(lines, "%s %d %d %d\n", kind, time.Now().UnixMicro(), partition, offset)
}

func main() {
	if len(os.Args) < 7 {
		fmt.Fprintln(os.Stderr, "usage: members franz-go|sarama BOOTSTRAP TOPIC GROUP INSTANCE|- SESSION_MS")
		os.Exit(2)
	}
	sessionMs, err := strconv.Atoi(os.Args[6])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	a := arguments{os.Args[2], os.Args[3], os.Args[4], os.Args[5], time.Duration(sessionMs) * time.Millisecond}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	run := map[string]func(context.Context, arguments) error{"franz-go": runFranz, "sarama": runSarama}[os.Args[1]]
	if err := run(ctx, a); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runFranz(ctx context.Context, a arguments) error {
	options := []kgo.Opt{
		kgo.SeedBrokers(a.bootstrap), kgo.ConsumerGroup(a.group), kgo.ConsumeTopics(a.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(a.session), kgo.HeartbeatInterval(time.Second), kgo.RebalanceTimeout(15 * time.Second),
		kgo.FetchMaxWait(200 * time.Millisecond),
	}
	if a.instance != "-" {
		options = append(options, kgo.InstanceID(a.instance))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		records := client.PollRecords(ctx, 50).Records()
		if len(records) > 0 {
			commitFranz(ctx, client, records)
		}
		client.AllowRebalance()
	}
	client.CloseAllowingRebalance()
	return nil
}

func commitFranz(ctx context.Context, client *kgo.Client, records []*kgo.Record) {
	var lines strings.Builder
	next := map[int32]int64{}
	for _, record := range records {
		line(&lines, "R", record.Partition, record.Offset)
		next[record.Partition] = record.Offset + 1
	}
	write(&lines)
	time.Sleep(5 * time.Millisecond)
	if err := client.CommitRecords(ctx, records...); err != nil {
		fmt.Fprintln(os.Stderr, "commit:", err)
		return
	}
	lines.Reset()
	for partition, offset := range next {
		line(&lines, "C", partition, offset)
	}
	write(&lines)
}

// Sarama does not say whether a commit was taken: it prints no C lines.
type handler struct{}

func (handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	count := 0
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			var lines strings.Builder
			line(&lines, "R", message.Partition, message.Offset)
			write(&lines)
			session.MarkMessage(message, "")
			if count++; count%50 == 0 || len(claim.Messages()) == 0 {
				time.Sleep(5 * time.Millisecond)
				session.Commit()
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func runSarama(ctx context.Context, a arguments) error {
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Session.Timeout = a.session
	config.Consumer.Group.Heartbeat.Interval = time.Second
	config.Consumer.Group.Rebalance.Timeout = 15 * time.Second
	if a.instance != "-" {
		config.Version = sarama.V2_4_0_0
		config.Consumer.Group.InstanceId = a.instance
	}
	for ctx.Err() == nil {
		if err := consumeSarama(ctx, a, config); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "again:", err)
			time.Sleep(200 * time.Millisecond)
		}
	}
	return nil
}

func consumeSarama(ctx context.Context, a arguments, config *sarama.Config) error {
	group, err := sarama.NewConsumerGroup([]string{a.bootstrap}, a.group, config)
	if err != nil {
		return err
	}
	defer group.Close()
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{a.topic}, handler{}); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"context"
	"strconv"
	"time"

	"github.com/lib/pq"

	"lanchat/jsonlog"
)

const (
	channel = "lan_chat_messages"
	// Ids are given out before transactions commit, so a lower one can become visible later. After a lost
	// connection to the store we look back this far, and remember what has been handed on already.
	lookBack = 200
)

// follow hands each message in the store to deliver once, as gateways write them, until ctx ends.
func (s *store) follow(ctx context.Context, log *jsonlog.Logger, deliver func(message)) {
	listener := pq.NewListener(s.dsn, 200*time.Millisecond, 3*time.Second, func(event pq.ListenerEventType, err error) {
		switch event {
		case pq.ListenerEventDisconnected:
			log.Warn("store is away", "error", err)
		case pq.ListenerEventReconnected:
			log.Info("store is back")
		}
	})
	defer listener.Close()
	for listener.Listen(channel) != nil && ctx.Err() == nil {
		time.Sleep(200 * time.Millisecond)
	}
	follower := follower{store: s, log: log, deliver: deliver, seen: map[int64]bool{}}
	follower.start(ctx)
	ping := time.NewTicker(30 * time.Second)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case notification := <-listener.Notify:
			follower.handle(ctx, notification, listener.Notify)
		case <-ping.C:
			go func() { _ = listener.Ping() }()
		}
	}
}

// follower knows which messages have been handed on.
type follower struct {
	store   *store
	log     *jsonlog.Logger
	deliver func(message)
	last    int64
	seen    map[int64]bool
}

func (f *follower) start(ctx context.Context) {
	for ctx.Err() == nil {
		found, err := f.store.query(ctx, selectMessages+`ORDER BY id DESC LIMIT $1`, lookBack)
		if err == nil {
			for _, m := range found {
				f.mark(m.ID)
			}
			return
		}
		f.log.Warn("store does not answer", "error", err)
		time.Sleep(time.Second)
	}
}

// handle takes one notification and all that wait behind it. A nil one means that the connection was lost and found.
func (f *follower) handle(ctx context.Context, first *pq.Notification, more <-chan *pq.Notification) {
	ids := []int64{}
	lost := first == nil
	for notification := first; ; {
		if notification == nil {
			lost = true
		} else if id, err := strconv.ParseInt(notification.Extra, 10, 64); err == nil {
			ids = append(ids, id)
		}
		select {
		case notification = <-more:
			continue
		default:
		}
		break
	}
	var found []message
	var err error
	for attempt := 0; attempt < 5; attempt++ {
		if lost {
			found, err = f.store.query(ctx, selectMessages+`WHERE id > $1`, f.last-lookBack)
		} else {
			found, err = f.store.byIDs(ctx, ids)
		}
		if err == nil {
			break
		}
		time.Sleep(time.Duration(attempt+1) * 200 * time.Millisecond)
	}
	if err != nil {
		f.log.Error("messages can't be read", "error", err)
	}
	for _, m := range found {
		if !f.seen[m.ID] {
			f.mark(m.ID)
			f.deliver(m)
		}
	}
}

func (f *follower) mark(id int64) {
	f.seen[id] = true
	if id > f.last {
		f.last = id
	}
	if len(f.seen) > 10*lookBack {
		for old := range f.seen {
			if old < f.last-2*lookBack {
				delete(f.seen, old)
			}
		}
	}
}

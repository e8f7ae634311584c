// Written by campanile-broadcast from the events' types in Rust; changes are lost.

export type Lane = "todo" | "doing" | "done";

export interface Events {
  "card.placed": { card_id: number, title: string, lane: Lane, by: string, };
  "comment.added": { comment_id: number, author: string, body: string, written_at: string, };
  "comparison.progressed": { doing: string, second: number, of: number, ended: boolean, };
  "membership.changed": { team_id: number, is_member: boolean, };
  "order.shipped": { order_id: number, item: string, tracking_number: string, };
}

export interface Notifications {
  "comment.added": { document_id: number, document: string, author: string, };
  "order.shipped": { order_id: number, item: string, tracking_number: string, };
}

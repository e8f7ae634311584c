use campanile_broadcast::Notification;
use serde::Serialize;

#[derive(Serialize, Notification)]
#[notification(title = "Ann has commented")]
struct WithoutKind;

#[derive(Serialize, Notification)]
#[notification(kind = "")]
struct NamelessKind;

#[derive(Serialize, Notification)]
#[notification(kind = "comment.added", categorie = "comments")]
struct Misspelt;

#[derive(Serialize, Notification)]
#[notification(kind = "comment.added", via = [Inbox, Email])]
struct UnknownWay;

#[derive(Serialize, Notification)]
#[notification(kind = "comment.added", via = [Inbox, Webpush])]
struct NearlyAWay;

#[derive(Serialize, Notification)]
#[notification(kind = "comment.added", via = Mail)]
struct WithoutBrackets;

#[derive(Serialize, Notification)]
#[notification(kind = "comment.added", via = [])]
struct ByNoWay;

#[derive(Serialize, Notification)]
#[notification(kind = "comment.added", via = [Broadcast, Mail])]
struct PushedAndNotKept;

#[derive(Serialize, Notification)]
#[notification(kind = "comment.added", body = "I like it")]
struct BodyWithoutTitle;

#[derive(Serialize, Notification)]
#[notification(kind = "comment.added", kind = "comment.removed")]
struct SaidTwice;

fn main() {}

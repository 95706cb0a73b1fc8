//! `renewal.json`: two renewals of the link from the first case of `handshake.json`.

use bitchat_wire::{
    link::TlsSide,
    proto::{LinkMessage, Rekey, link_message, rekey::Step},
};
use prost::Message;
use serde_json::{Value, json};

use super::{
    check,
    handshake::{Exchange, Finished, frame, run},
    reference::{cat, extract, h, x},
};

/// A step encoded as a link message, the content of a frame.
fn message(step: Step) -> Vec<u8> {
    LinkMessage {
        kind: Some(link_message::Kind::Rekey(Rekey { step: Some(step) })),
    }
    .encode_to_vec()
}

fn renew(link: &mut Finished, first: u8) -> Value {
    let exchange = Exchange::new(first);
    let old = (x(&link.root, "I", b""), x(&link.root, "R", b""));

    let init = link.at_i.renewal.start(&mut exchange.asking()).unwrap();
    assert_eq!(init.dh, exchange.e_i.as_slice());
    assert_eq!(init.kem, exchange.ek);
    let init_frame = frame(
        &mut link.at_i,
        &mut link.at_r,
        &old.0,
        &message(Step::Init(init.clone())),
    );

    let resp = link
        .at_r
        .renewal
        .on_init(&init, &link.r.device, &mut exchange.answering())
        .unwrap();
    let resp_frame = frame(
        &mut link.at_r,
        &mut link.at_i,
        &old.1,
        &message(Step::Resp(resp.clone())),
    );
    let th = h(
        "renew",
        &cat(&[
            &link.th4,
            &exchange.e_i,
            &exchange.ek,
            &exchange.e_r,
            &exchange.ct,
        ]),
    );
    let prk = extract(
        &link.root,
        &cat(&[&exchange.shared_dh, &exchange.shared_kem]),
    );
    let root = x(&prk, "root", &th);
    let new = (x(&root, "I", b""), x(&root, "R", b""));
    assert_eq!(resp.dh, exchange.e_r.as_slice());
    assert_eq!(resp.ciphertext, exchange.ct);
    assert_eq!(
        resp.signature,
        link.r.device.sign("renew R", &[&th]).as_slice()
    );

    let (done, switch) = link.at_i.renewal.on_resp(&resp, &link.i.device).unwrap();
    assert_eq!(
        done.signature,
        link.i.device.sign("renew I", &[&th]).as_slice()
    );
    let done_frame = frame(
        &mut link.at_i,
        &mut link.at_r,
        &old.0,
        &message(Step::Done(done.clone())),
    );
    link.at_i.sealer.switch(switch);

    let (opener, go, sealer) = link.at_r.renewal.on_done(&done).unwrap();
    link.at_r.opener.switch(opener);
    let go_frame = frame(
        &mut link.at_r,
        &mut link.at_i,
        &old.1,
        &message(Step::Go(go)),
    );
    link.at_r.sealer.switch(sealer);
    let switch = link.at_i.renewal.on_go().unwrap();
    link.at_i.opener.switch(switch);

    let json = json!({
        "exchange": exchange.json(),
        "th_before": hex::encode(link.th4),
        "root_before": hex::encode(link.root),
        "th": hex::encode(th),
        "prk": hex::encode(prk),
        "root": hex::encode(root),
        "sigR": hex::encode(&resp.signature),
        "sigI": hex::encode(&done.signature),
        "frames": {"init": init_frame, "resp": resp_frame, "done": done_frame, "go": go_frame},
        "I_key": hex::encode(new.0),
        "R_key": hex::encode(new.1),
        "first_frame_I": frame(&mut link.at_i, &mut link.at_r, &new.0, b"renewed"),
        "first_frame_R": frame(&mut link.at_r, &mut link.at_i, &new.1, b"renewed"),
        "export": hex::encode(*link.at_r.renewal.export()),
    });
    assert_eq!(*link.at_i.renewal.export(), x(&root, "export", b""));
    link.root = root;
    link.th4 = th;
    json
}

#[test]
fn renewal_json() {
    let mut link = run(TlsSide::Client);
    let first = renew(&mut link, 0x31);
    let second = renew(&mut link, 0x41);
    check(
        "renewal.json",
        &json!({
            "about": "Two renewals in a row, on the link that the first handshake of handshake.json makes, before any other frame. \
                      Each frame's message is the encoded LinkMessage that carries the step; init, resp, done and go are sealed with the keys before.",
            "renewals": [first, second],
        }),
    );
}

use super::*;

fn fault(bytes: &[u8]) -> String {
    match Graph::read(bytes, 0) {
        Ok(_) => panic!("{bytes:?} is read"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn numbers_texts_and_collections_of_every_protocol() {
    let one = |bytes: &[u8]| {
        let mut graph = Graph::read(bytes, 0).unwrap();
        graph.values.swap_remove(graph.root as usize)
    };
    assert_eq!(one(b"I42\n."), Value::Int(42));
    assert_eq!(one(b"I01\n."), Value::Bool(true));
    assert_eq!(one(b"L-7L\n."), Value::Int(-7));
    assert_eq!(one(b"J\xfe\xff\xff\xff."), Value::Int(-2));
    assert_eq!(one(b"\x80\x02\x8a\x02\x00\xff."), Value::Int(-256));
    assert_eq!(one(b"\x80\x02\x8a\x00."), Value::Int(0));
    assert_eq!(one(b"\x80\x02\x8a\x09\0\0\0\0\0\0\0\0\x01."), Value::Other);
    for text in [
        &b"S'abc'\n."[..],
        b"Vabc\n.",
        b"X\x03\0\0\0abc.",
        b"U\x03abc.",
        b"\x80\x04\x8c\x03abc.",
        b"\x80\x05\x95\x0c\0\0\0\0\0\0\0\x8d\x03\0\0\0\0\0\0\0abc.",
    ] {
        let graph = Graph::read(text, 0).unwrap();
        assert_eq!(graph.text(graph.root), Some("abc"), "{text:?}");
    }
    let graph = Graph::read(b"\x80\x04}\x94(\x8c\x01aK\x01\x8c\x01bh\x00u.", 0).unwrap();
    let items = graph.items(graph.root).unwrap();
    assert_eq!(graph.text(items[0].key), Some("a"));
    assert_eq!(graph.value(items[0].value), &Value::Int(1));
    assert_eq!(items[1].value, graph.root, "a dictionary may hold itself");
}

#[test]
fn calls_are_named_and_not_made() {
    for bytes in [
        &b"cos\nsystem\n(S'touch /tmp/x'\ntR."[..],
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85R.",
        b"(ios\nsystem\n.",
        b"(cos\nsystem\nX\x01\0\0\0xo.",
    ] {
        let graph = Graph::read(bytes, 0).unwrap();
        let Value::Call(call) = graph.value(graph.root) else {
            panic!("{bytes:?}");
        };
        assert_eq!(graph.global(call.function).as_deref(), Some("os.system"));
    }
}

#[test]
fn depth_and_repetition_take_no_stack_and_no_memory() {
    let deep = [&vec![b')'; 1][..], &vec![0x85; 1_000_000], b"."].concat();
    assert!(Graph::read(&deep, 0).is_ok());
    let mut bomb = b"]q\x00".to_vec();
    for _ in 0..60 {
        bomb.extend(b"h\x00h\x00\x86q\x00");
    }
    bomb.push(b'.');
    let graph = Graph::read(&bomb, 0).unwrap();
    assert_eq!(graph.values.len(), 61);
}

#[test]
fn what_is_broken_is_named_with_its_byte() {
    for (bytes, told) in [
        (&b""[..], "byte 0 of the pickle: no end"),
        (b"K", "byte 0 of the pickle: ends within this opcode"),
        (b"K\x01", "byte 2 of the pickle: no end"),
        (b".", "takes a value from an empty stack"),
        (b"R.", "takes a value from an empty stack"),
        (b"(K\x01(R.", "takes a value from an empty stack"),
        (b"K\x01(Q.", "takes a value from an empty stack"),
        (b"K\x01K\x02(R.", "takes a value from an empty stack"),
        (b"]K\x01(at.", "takes a value from an empty stack"),
        (b"K\x01(\x85.", "takes a value from an empty stack"),
        (b"u.", "needs a mark"),
        (b"}(K\x01u.", "a key without a value"),
        (
            b"K\x01(K\x01K\x01u.",
            "puts a key into what is no dictionary",
        ),
        (b"K\x01K\x02a.", "appends to what is no list"),
        (b"h\x05.", "the memo has no value 5"),
        (b"X\xff\xff\xff\xffa.", "ends within this opcode"),
        (
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.",
            "ends within this opcode",
        ),
        (b"\x80\x09.", "protocol 9"),
        (b"\x82\x01.", "opcode 0x82 is not known"),
        (b"I99999999999999999999\n.", "is not a number of 64 bits"),
        (b"K\x01K\x02\x93.", "the name of a class is no text"),
    ] {
        let fault = fault(bytes);
        assert!(fault.contains(told), "{bytes:?}: {fault}");
    }
    let endless = vec![b')'; OPCODES + 1];
    assert!(fault(&endless).contains("more than"));
}

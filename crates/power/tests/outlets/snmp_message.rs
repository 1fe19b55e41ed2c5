//! Messages of SNMP versions 1 and 2c as an agent reads and writes them, with integers only.

// Tags of ASN.1 BER and of PDUs. Source: RFC 3416 section 3, RFC 1157 section 4.1.
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
pub(crate) const GET: u8 = 0xa0;
pub(crate) const GET_NEXT: u8 = 0xa1;
const RESPONSE: u8 = 0xa2;
const SET: u8 = 0xa3;
const NO_SUCH_INSTANCE: u8 = 0x81;
const END_OF_MIB_VIEW: u8 = 0x82;

/// A request, decoded.
pub(crate) struct Request {
    /// 0 for version 1, 1 for version 2c.
    pub(crate) version: i32,
    pub(crate) community: String,
    pub(crate) tag: u8,
    pub(crate) id: i32,
    /// OIDs and integers; `None` for a value of another type.
    pub(crate) bindings: Vec<(String, Option<i32>)>,
}

impl Request {
    pub(crate) fn decode(datagram: &[u8]) -> Self {
        let (_, message, _) = read(datagram);
        let (_, version, rest) = read(message);
        let (_, community, rest) = read(rest);
        let (tag, pdu, _) = read(rest);
        assert!(matches!(tag, GET | GET_NEXT | SET), "tag {tag:#x}");
        let (_, id, rest) = read(pdu);
        let (_, _error_status, rest) = read(rest);
        let (_, _error_index, rest) = read(rest);
        let (_, mut list, _) = read(rest);
        let mut bindings = Vec::new();
        while !list.is_empty() {
            let (_, binding, rest) = read(list);
            let (_, oid, value) = read(binding);
            let (value_tag, value, _) = read(value);
            bindings.push((oid_text(oid), (value_tag == INTEGER).then(|| integer(value))));
            list = rest;
        }
        let community = String::from_utf8(community.to_vec()).unwrap();
        Self { version: integer(version), community, tag, id: integer(id), bindings }
    }

    /// The answer under a request ID; an object without a value does not exist.
    pub(crate) fn answer(&self, id: i32, values: &[(&String, Option<i32>)]) -> Vec<u8> {
        self.response(id, 0, 0, values)
    }

    /// The answer with an error status and the number of the object that it concerns.
    pub(crate) fn refusal(&self, status: u8, index: usize) -> Vec<u8> {
        let values: Vec<_> = self.bindings.iter().map(|(oid, value)| (oid, *value)).collect();
        self.response(self.id, status, index, &values)
    }

    fn response(&self, id: i32, status: u8, index: usize, values: &[(&String, Option<i32>)]) -> Vec<u8> {
        let bindings = values.iter().flat_map(|(oid, value)| {
            let value = match value {
                Some(value) => write(INTEGER, &integer_bytes(*value)),
                None if self.tag == GET_NEXT => write(END_OF_MIB_VIEW, &[]),
                None => write(NO_SUCH_INSTANCE, &[]),
            };
            write(SEQUENCE, &[write(OID, &oid_bytes(oid)), value].concat())
        });
        let pdu = [
            write(INTEGER, &integer_bytes(id)),
            write(INTEGER, &[status]),
            write(INTEGER, &[u8::try_from(index).unwrap()]),
            write(SEQUENCE, &bindings.collect::<Vec<_>>()),
        ];
        let message = [
            write(INTEGER, &integer_bytes(self.version)),
            write(OCTET_STRING, self.community.as_bytes()),
            write(RESPONSE, &pdu.concat()),
        ];
        write(SEQUENCE, &message.concat())
    }
}

/// Reads one element: its tag, its content, and what follows.
fn read(bytes: &[u8]) -> (u8, &[u8], &[u8]) {
    let (tag, rest) = bytes.split_first().unwrap();
    let (length, rest) = rest.split_first().unwrap();
    let (length, rest) = if *length < 0x80 {
        (usize::from(*length), rest)
    } else {
        assert_eq!(*length, 0x81, "a length of more than one byte");
        (usize::from(rest[0]), &rest[1..])
    };
    let (content, rest) = rest.split_at(length);
    (*tag, content, rest)
}

fn write(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
    [head, content.to_vec()].concat()
}

fn integer(bytes: &[u8]) -> i32 {
    let negative = bytes[0] & 0x80 != 0;
    bytes.iter().fold(if negative { -1 } else { 0 }, |value, byte| (value << 8) | i32::from(*byte))
}

fn integer_bytes(value: i32) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    // The shortest form: a first byte that only repeats the sign is left out.
    let is_needless = |pair: &[u8]| matches!((pair[0], pair[1] & 0x80), (0, 0) | (0xff, 0x80));
    let first = bytes.windows(2).take_while(|pair| is_needless(pair)).count();
    bytes[first..].to_vec()
}

fn oid_text(bytes: &[u8]) -> String {
    let mut arcs = vec![u32::from(bytes[0] / 40), u32::from(bytes[0] % 40)];
    let mut arc = 0;
    for byte in &bytes[1..] {
        arc = (arc << 7) | u32::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            arcs.push(std::mem::take(&mut arc));
        }
    }
    arcs.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

fn oid_bytes(text: &str) -> Vec<u8> {
    let arcs: Vec<u32> = text.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut bytes = vec![u8::try_from(arcs[0] * 40 + arcs[1]).unwrap()];
    for arc in &arcs[2..] {
        let groups: Vec<u8> =
            (0..5).rev().map(|group| u8::try_from((arc >> (7 * group)) & 0x7f).unwrap()).collect();
        let first = groups.iter().position(|group| *group != 0).unwrap_or(4);
        let (last, leading) = groups[first..].split_last().unwrap();
        bytes.extend(leading.iter().map(|group| group | 0x80));
        bytes.push(*last);
    }
    bytes
}

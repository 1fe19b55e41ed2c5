//! Tests of the power URLs of `snmp://`.

use power::PowerUrl;

#[test]
fn a_bad_url_is_refused_with_the_right_form() {
    for (text, right) in [
        ("snmp://pdu.lab/3", "`device` is missing; write `device=apc`, `device=apc-rpdu2`"),
        ("snmp://pdu.lab/3?device=acp", "write `device=apc`"),
        ("snmp://pdu.lab/?device=apc", "an outlet is a number from 1"),
        ("snmp://pdu.lab/0?device=apc", "an outlet is a number from 1"),
        ("snmp://pdu.lab/1.3?device=apc", "an outlet is a number from 1"),
        ("snmp://pdu.lab/+3?device=apc", "an outlet is a number from 1"),
        ("snmp://pdu.lab/1.2.3?device=poe", "`GROUP.NUMBER`; GROUP is 1 by default"),
        ("snmp://pdu.lab/1.?device=poe", "`GROUP.NUMBER`"),
        ("snmp://pdu.lab:0/3?device=apc", "1 to 65535"),
        ("snmp://pdu.lab/3?device=apc&oid=1.3.6", "`oid` needs `device=oid`"),
        ("snmp://pdu.lab/3?device=apc&version=2", "write `1`, `2c` or `3`"),
        ("snmp://pdu.lab/3?device=apc&version=3", "`version=3` needs `credential`"),
        ("snmp://pdu.lab/3?device=apc&auth=sha", "`auth` needs `version=3`"),
        ("snmp://pdu.lab/3?device=apc&version=3&credential=a&auth=sha1", "write `sha`, `md5`"),
        ("snmp://pdu.lab/3?device=apc&version=3&credential=a&privacy=aes128", "write `aes`, `des`"),
        ("snmp://pdu.lab/3?device=apc&version=3&credential=a&auth=none&privacy=aes", "write `auth` too"),
        ("snmp://pdu.lab/3?device=apc&credential=a%20b", "not the name of a credential"),
        ("snmp://pdu.lab/3?device=oid&oid=1.3.6.1", "needs `on-value`"),
        ("snmp://pdu.lab/3?device=oid&on-value=1&off-value=2", "needs `oid`"),
        ("snmp://pdu.lab/x?device=oid", "an index is a number"),
        ("snmp://pdu.lab/3?device=oid&oid=ifIndex&on-value=1&off-value=2", "`oid=ifIndex`: it is not an OID"),
        ("snmp://pdu.lab/3?device=oid&oid=7.3.6&on-value=1&off-value=2", "it is not an OID"),
        ("snmp://pdu.lab/3?device=oid&oid=1.3.6&on-value=1&off-value=1", "write `off-oid`"),
        ("snmp://pdu.lab/3?device=oid&oid=1.3.6&on-value=on&off-value=off", "write `type=unsigned`"),
        (
            "snmp://pdu.lab/3?device=oid&oid=1.3.6&on-value=-1&off-value=2&type=unsigned",
            "from 0 to 4294967295",
        ),
        (
            "snmp://pdu.lab/3?device=oid&oid=1.3.6&on-value=1&off-value=2&type=text",
            "`integer`, `unsigned` or",
        ),
        ("snmp://pdu.lab/3?device=oid&oid=1.3.6&on-value=1&off-value=2&on-reading=2", "both read `2`"),
    ] {
        let error = text.parse::<PowerUrl>().unwrap_err().to_string();
        assert!(error.contains(right), "{text}: {error}");
    }
}

#[test]
fn equal_outlets_are_equal_however_they_are_written() {
    for (texts, outlet) in [
        (vec!["snmp://PDU.lab/03?device=apc", "snmp://pdu.lab.:161/3?version=2c&device=apc"], "3?device=apc"),
        (vec!["snmp://pdu.lab/7?device=poe", "snmp://pdu.lab/1.7?device=poe"], "1.7?device=poe"),
        (
            vec![
                "snmp://pdu.lab/3?device=apc-masterswitch",
                "snmp://pdu.lab/3?device=oid&oid=1.3.6.1.4.1.318.1.1.4.4.2.1.3&on-value=1&off-value=2",
            ],
            "3?device=apc-masterswitch",
        ),
        (
            vec![
                "snmp://pdu.lab/7?device=poe",
                "snmp://pdu.lab/7?device=oid&oid=1.3.6.1.2.1.105.1.1.1.3.1&on-value=1&off-value=2",
            ],
            "1.7?device=poe",
        ),
        (
            vec![
                "snmp://pdu.lab/2.9?device=oid&oid=1.3.6.1.4.1.9&on-value=1&off-value=0",
                "snmp://pdu.lab/9?device=oid&oid=1.3.6.1.4.1.9.2&on-value=on&off-value=off&type=string",
            ],
            "1.3.6.1.4.1.9.2.9?device=oid",
        ),
    ] {
        for text in texts {
            let url: PowerUrl = text.parse().unwrap();
            assert_eq!(url.outlet(), format!("snmp://pdu.lab:161/{outlet}"), "{text}");
            assert_eq!(url.resource(), Some("snmp://pdu.lab:161"));
        }
    }
}

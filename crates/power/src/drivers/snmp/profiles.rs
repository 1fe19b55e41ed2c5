//! The objects of common devices.

use super::security::SnmpVersion;

/// How outlets of one kind of device are switched and read.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeviceProfile {
    /// Its name in the parameter `device`.
    pub(super) name: &'static str,
    /// The version of SNMP that these devices have enabled as delivered, or the newest that all of them know.
    pub(super) version: SnmpVersion,
    /// Where an outlet has two numbers, such as `UNIT.OUTLET`: what the first one is called, and its default.
    pub(super) unit: Option<(&'static str, u32)>,
    /// What is set to switch on, and to which value.
    pub(super) on: (&'static str, i32),
    /// What is set to switch off, and to which value.
    pub(super) off: (&'static str, i32),
    /// What is read, and its name.
    pub(super) state: (&'static str, &'static str),
    /// The readings on and off. All others are neither.
    pub(super) readings: (i32, i32),
    /// What is read too, as evidence of a load.
    pub(super) detection: Option<&'static str>,
}

/// The built-in profiles.
pub(super) const PROFILES: &[DeviceProfile] = &[
    // Source: PowerNet-MIB, rPDUOutletControlOutletCommand: immediateOn(1), immediateOff(2);
    // rPDUOutletStatusOutletState: outletStatusOn(1), outletStatusOff(2). immediateReboot(3) takes its off time, 5 to
    // 60 s, from the PDU's configuration (rPDUOutletConfigRebootDuration) and is not used.
    DeviceProfile {
        name: "apc",
        version: SnmpVersion::V1,
        unit: None,
        on: ("1.3.6.1.4.1.318.1.1.12.3.3.1.1.4", 1),
        off: ("1.3.6.1.4.1.318.1.1.12.3.3.1.1.4", 2),
        state: ("1.3.6.1.4.1.318.1.1.12.3.5.1.1.4", "rPDUOutletStatusOutletState"),
        readings: (1, 2),
        detection: None,
    },
    // Source: PowerNet-MIB, rPDU2OutletSwitchedControlCommand: immediateOn(1), immediateOff(2);
    // rPDU2OutletSwitchedStatusState: off(1), on(2), the other way round.
    DeviceProfile {
        name: "apc-rpdu2",
        version: SnmpVersion::V1,
        unit: None,
        on: ("1.3.6.1.4.1.318.1.1.26.9.2.4.1.5", 1),
        off: ("1.3.6.1.4.1.318.1.1.26.9.2.4.1.5", 2),
        state: ("1.3.6.1.4.1.318.1.1.26.9.2.3.1.5", "rPDU2OutletSwitchedStatusState"),
        readings: (2, 1),
        detection: None,
    },
    // Source: PowerNet-MIB, sPDUOutletCtl: outletOn(1), outletOff(2), outletUnknown(4); set and read.
    DeviceProfile {
        name: "apc-masterswitch",
        version: SnmpVersion::V1,
        unit: None,
        on: ("1.3.6.1.4.1.318.1.1.4.4.2.1.3", 1),
        off: ("1.3.6.1.4.1.318.1.1.4.4.2.1.3", 2),
        state: ("1.3.6.1.4.1.318.1.1.4.4.2.1.3", "sPDUOutletCtl"),
        readings: (1, 2),
        detection: None,
    },
    // Source: RFC 3621, pethPsePortAdminEnable, indexed by group and port: true(1), false(2). The group of a switch
    // without modules is 1. pethPsePortDetectionStatus.
    DeviceProfile {
        name: "poe",
        version: SnmpVersion::V2c,
        unit: Some(("GROUP", 1)),
        on: ("1.3.6.1.2.1.105.1.1.1.3", 1),
        off: ("1.3.6.1.2.1.105.1.1.1.3", 2),
        state: ("1.3.6.1.2.1.105.1.1.1.3", "pethPsePortAdminEnable"),
        readings: (1, 2),
        detection: Some("1.3.6.1.2.1.105.1.1.1.6"),
    },
    // Source: PDU2-MIB, switchingOperation, indexed by PDU and outlet: off(0), on(1); outletSwitchingState, a
    // SensorStateEnumeration: on(7), off(8). A PDU that is not linked to others is 1.
    DeviceProfile {
        name: "raritan",
        version: SnmpVersion::V2c,
        unit: Some(("PDU", 1)),
        on: ("1.3.6.1.4.1.13742.6.4.1.2.1.2", 1),
        off: ("1.3.6.1.4.1.13742.6.4.1.2.1.2", 0),
        state: ("1.3.6.1.4.1.13742.6.4.1.2.1.3", "outletSwitchingState"),
        readings: (7, 8),
        detection: None,
    },
    // Source: EATON-EPDU-MIB, outletControlOnCmd and outletControlOffCmd, set to a delay in seconds, indexed by unit
    // and outlet; outletControlStatus: off(0), on(1), pendingOff(2), pendingOn(3). A unit that is not linked to others
    // is 0.
    DeviceProfile {
        name: "eaton",
        version: SnmpVersion::V1,
        unit: Some(("UNIT", 0)),
        on: ("1.3.6.1.4.1.534.6.6.7.6.6.1.4", 0),
        off: ("1.3.6.1.4.1.534.6.6.7.6.6.1.3", 0),
        state: ("1.3.6.1.4.1.534.6.6.7.6.6.1.2", "outletControlStatus"),
        readings: (1, 0),
        detection: None,
    },
];

/// Names the detection status of a PoE port. Source: RFC 3621, pethPsePortDetectionStatus.
pub(super) fn detection_name(value: i32) -> Option<&'static str> {
    Some(match value {
        1 => "disabled",
        2 => "searching",
        3 => "deliveringPower",
        4 => "fault",
        5 => "test",
        6 => "otherFault",
        _ => return None,
    })
}

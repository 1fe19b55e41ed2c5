-- What is known of boards besides their lifecycle, and what they can boot.

-- One row for each board; its name and lifecycle are its instance's.
CREATE TABLE device (
    instance_id   bigint      PRIMARY KEY REFERENCES instance ON DELETE CASCADE,
    fqdn          text        NOT NULL,
    mac           text        NOT NULL,
    power_url     text,
    poll_url      text,
    hardware      text        NOT NULL,
    environment   text        NOT NULL,
    comments      text        NOT NULL,
    registered_at timestamptz NOT NULL CHECK (isfinite(registered_at)),
    CONSTRAINT device_mac_key UNIQUE (mac)
);

-- What operators ask boards to be imaged with.
CREATE TABLE image (
    name          text        PRIMARY KEY,
    about         text        NOT NULL,
    registered_at timestamptz NOT NULL CHECK (isfinite(registered_at))
);

-- Which file of the boot tree's configs folder boots an image on a type of hardware.
CREATE TABLE boot_config (
    image    text NOT NULL REFERENCES image ON DELETE CASCADE,
    hardware text NOT NULL,
    file     text NOT NULL,
    PRIMARY KEY (image, hardware)
);

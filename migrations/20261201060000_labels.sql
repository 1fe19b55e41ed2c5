-- What boards are told apart by besides their hardware and environment: words of the farm's own, such as `rack-7`.
ALTER TABLE device ADD COLUMN labels text[] NOT NULL DEFAULT '{}';

from bandbridge.ops.doctor.main import main

raise SystemExit(main())

; Firmware that proves an accelerator: it reaches long mode with paging on and does SSE arithmetic, then ends QEMU through
; isa-debug-exit with status 33. On some machines KVM executes real and protected mode by emulation and nothing beyond.
; nasm -f bin -o firmware firmware.asm; the bytes before the filler and the jump at the reset vector stand in AcceleratorProbe.swift.
org 0
bits 16
start:
  cli
  mov ax, cs
  mov ds, ax
  o32 lgdt [gdtr]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp dword 8:(0xffff0000 + pm)
bits 32
pm:
  mov ax, 16
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov esp, 0x9000
  ; page tables at 0x1000: identity 4 GiB by 2 MiB pages... low 2 MiB and top 2 MiB
  mov edi, 0x1000
  xor eax, eax
  mov ecx, 0x4000/4
  cld
  rep stosd
  mov dword [0x1000], 0x2003       ; PML4[0]
  mov dword [0x2000], 0x3003       ; PDPT[0]
  mov dword [0x2000+3*8], 0x4003   ; PDPT[3]
  mov dword [0x3000], 0x83         ; 0..2 MiB
  mov dword [0x4000+511*8], 0xffe00083
  mov eax, 0x1000
  mov cr3, eax
  mov eax, cr4
  or eax, 0x620                    ; PAE, OSFXSR, OSXMMEXCPT
  mov cr4, eax
  mov ecx, 0xc0000080
  rdmsr
  or eax, 0x100
  wrmsr
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  jmp 24:(0xffff0000 + lm)
bits 64
lm:
  mov rax, 0x123456789
  movq xmm0, rax
  paddq xmm0, xmm0
  movq [0x8000], xmm0
  mov rax, [0x8000]
  mov rbx, 0x2468acf12
  cmp rax, rbx
  jne fail
  mov al, 0x10
  out 0xf4, al
fail:
  hlt
  jmp fail
align 8
gdt: dq 0
  dq 0x00cf9b000000ffff
  dq 0x00cf93000000ffff
  dq 0x00af9b000000ffff
gdtr: dw 31
  dd 0xffff0000 + gdt
times 0xfff0-($-$$) db 0xf4
bits 16
  jmp start
times 0x10000-($-$$) db 0xf4
